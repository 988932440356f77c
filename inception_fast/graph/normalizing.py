"""``torchvision.transforms.Normalize``, which asks its deviations for zeros: a branch on numbers that Python has."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor

_MODULE = "torchvision.transforms._functional_tensor"


@contextmanager
def numbers_decide() -> Iterator[None]:
    """While this thread traces, the transform decides on its numbers before they are tensors; others see no change."""
    transforms = sys.modules.get(_MODULE)
    original = getattr(transforms, "normalize", None)
    if original is None:
        yield
        return
    owner = threading.get_ident()

    @functools.wraps(original)
    def normalize(tensor: Any, mean: Any, std: Any, inplace: bool = False) -> Any:
        if threading.get_ident() != owner or not _is_plain(tensor, mean, std):
            return original(tensor, mean, std, inplace)
        shift, scale = (
            torch.as_tensor(v, dtype=tensor.dtype, device=tensor.device).view(-1, 1, 1) for v in (mean, std)
        )
        return tensor.sub_(shift).div_(scale) if inplace else tensor.sub(shift).div(scale)

    with mock.patch.object(transforms, "normalize", normalize):
        yield


def _is_plain(tensor: Any, mean: Any, std: Any) -> bool:
    """Whether the transform would take its arguments, and they are numbers none of which is a zero."""
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point() or tensor.dim() < 3:
        return False
    if not all(isinstance(n, int | float) for values in (mean, std) for n in values):
        return False
    return len(std) > 0 and min(abs(s) for s in std) >= torch.finfo(tensor.dtype).tiny
