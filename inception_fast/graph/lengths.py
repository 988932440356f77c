"""``len(x)`` of a tensor whose batch size is left open; Python makes a number of it, which would fix the batch."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from torch import SymInt, Tensor


@contextmanager
def lengths_are_sizes() -> Iterator[None]:
    """While this thread traces, ``len(x)`` is ``x.shape[0]``; others see no change."""
    owner, original = threading.get_ident(), builtins.len

    def length(value: Any, /) -> Any:
        if isinstance(value, Tensor) and threading.get_ident() == owner and value.dim():
            size = value.shape[0]
            return size if isinstance(size, SymInt) else original(value)
        return original(value)

    with mock.patch.object(builtins, "len", length):
        yield
