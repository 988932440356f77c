"""Keeps what a trace does to PyTorch's classes to the thread that traces."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch.fx import _symbolic_trace


@contextmanager
def confined() -> Iterator[None]:
    """While ``torch.fx`` traces, ``__call__`` and ``__getattr__`` are its own for every module of the process.

    A module that another thread runs would get into the trace, or fail there. Within this context they stay PyTorch's
    for all threads but the tracing one. And so does the stack of modes before dispatch, which is one for the whole
    process: another thread that prints a tensor would empty it.
    """
    here, modes = threading.get_ident(), torch._ops.mode_stack_state_for_pre_dispatch
    stack = type(modes())()
    patch = _symbolic_trace._Patcher.patch_method

    def patch_method(patcher: Any, cls: type, name: str, new: Callable[..., Any], deduplicate: bool = True) -> None:
        owner, before = threading.get_ident(), getattr(cls, name)

        @functools.wraps(new)
        def choose(*args: Any, **kwargs: Any) -> Any:
            return (new if threading.get_ident() == owner else before)(*args, **kwargs)

        patch(patcher, cls, name, choose, deduplicate)

    def stack_of_thread() -> Any:
        return stack if threading.get_ident() == here else modes()

    with (
        mock.patch.object(_symbolic_trace._Patcher, "patch_method", patch_method),
        mock.patch.object(torch._ops, "mode_stack_state_for_pre_dispatch", stack_of_thread),
    ):
        yield
