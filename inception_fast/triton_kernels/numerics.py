"""What all kernels agree on: rounding to the stored dtype, the ReLU, and how pixels are addressed."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

INTERPRETED = tl.constexpr(bool(triton.knobs.runtime.interpret))


def is_interpreted() -> bool:
    """Whether the kernels of this process run in Triton's interpreter."""
    return bool(INTERPRETED.value)


def device_function(function):
    """``triton.jit`` for what kernels call.

    The interpreter patches Triton's whole language at each call of a jitted function, which takes longer than most
    tiles; in an interpreted kernel a plain function does the same.
    """
    return function if is_interpreted() else triton.jit(function)


@device_function
def narrow(value, dtype: tl.constexpr):
    """``value`` (float32) rounded to nearest even in ``dtype``.

    The interpreter truncates to bfloat16, so there the rounding is done on the bits first.
    """
    if INTERPRETED and dtype == tl.bfloat16:
        bits = value.to(tl.int32, bitcast=True)
        finite = (bits & 0x7F800000) != 0x7F800000
        nearest = (bits + (0x7FFF + ((bits >> 16) & 1))) & -65536
        value = tl.where(finite, nearest, bits).to(tl.float32, bitcast=True)
    return value.to(dtype)


@device_function
def widen(value):
    """An operand of ``tl.dot``. The interpreter stores bfloat16 as integers, and multiplies them as such."""
    if INTERPRETED and value.dtype == tl.bfloat16:
        value = value.to(tl.float32)
    return value


@device_function
def relu(value):
    """``max(value, 0)``; a NaN stays one."""
    return tl.maximum(value, 0.0, propagate_nan=tl.PropagateNan.ALL)


def pixel_stride(view: torch.Tensor) -> int:
    """Elements between neighbouring pixels of an NHWC view whose pixels follow each other without gaps between rows
    and images.
    """
    _, height, width, _ = view.shape
    stride = view.stride(2)
    assert view.stride(1) == width * stride and view.stride(0) == height * width * stride and view.stride(3) == 1
    return stride


def tile_size(extent: int, largest: int) -> int:
    """Pixels or channels of a tile, a power of two.

    The interpreter pays for each program, so there a tile takes all of them.
    """
    return triton.next_power_of_2(extent if is_interpreted() else min(extent, largest))
