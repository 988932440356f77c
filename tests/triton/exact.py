"""Exact inputs and poisoned outputs, on the GPU where there is one and else for the interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest
import torch

from inception_fast.backends import get_backend

if TYPE_CHECKING:
    from inception_fast.triton_kernels.functions import Function
    from inception_fast.triton_kernels.split import Workspace

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

_AVAILABLE = get_backend("triton").availability()
needs_triton = pytest.mark.skipif(not _AVAILABLE.available, reason=_AVAILABLE.reason)
requires_triton = [needs_triton, *([pytest.mark.gpu] if DEVICE.type == "cuda" else [])]
"""For a file whose tests also belong to those that a GPU is for, where there is one."""


def integers(*shape: int, dtype: torch.dtype, high: int = 3) -> torch.Tensor:
    """Whole numbers in ``[-high, high]``, on the CPU."""
    return torch.randint(-high, high + 1, shape).to(dtype)


def poisoned(shape: Sequence[int], before: int, after: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """NaN with ``before`` and ``after`` channels around a view of ``shape``, and the view."""
    *plane, channels = shape
    whole = torch.full((*plane, before + channels + after), float("nan"), dtype=dtype, device=DEVICE)
    return whole, whole[..., before : before + channels]


def relus(*wanted: bool) -> list[Function]:
    """What launches take of each destination: a ReLU, or nothing."""
    from inception_fast.triton_kernels.functions import IDENTITY, RELU

    return [RELU if relu else IDENTITY for relu in wanted]


def poisoned_workspace() -> Workspace:
    """For any launch of these tests, with NaN in the place of partial sums."""
    from inception_fast.triton_kernels.split import Workspace

    counters = torch.zeros(2**12, dtype=torch.int32, device=DEVICE)
    return Workspace(torch.full((2**20,), float("nan"), device=DEVICE), counters)


def same_padding_taps(kernel: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Taps of a convolution padded by half its kernel."""
    return tuple((r - kernel[0] // 2, c - kernel[1] // 2) for r in range(kernel[0]) for c in range(kernel[1]))
