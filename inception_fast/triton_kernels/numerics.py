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

    The interpreter truncates to bfloat16, so there the rounding is done on the bits.
    """
    if INTERPRETED and dtype == tl.bfloat16:
        bits = value.to(tl.int32, bitcast=True)
        finite = (bits & 0x7F800000) != 0x7F800000
        rounded = tl.where(finite, bits + 0x7FFF + ((bits >> 16) & 1), bits) >> 16
        return rounded.to(tl.int16).to(dtype, bitcast=True)
    return value.to(dtype)


@device_function
def widen(value):
    """bfloat16 as float32 in the interpreter, whose products take its bits for integers; else ``value`` itself."""
    if INTERPRETED and value.dtype == tl.bfloat16:
        return (value.to(tl.int16, bitcast=True).to(tl.int32) << 16).to(tl.float32, bitcast=True)
    return value


@device_function
def relu(value):
    """``max(value, 0)``; a NaN stays one."""
    return tl.maximum(value, 0.0, propagate_nan=tl.PropagateNan.ALL)


@device_function
def loop_end(value):
    """``value``, read from memory, as the end of a loop: the interpreter of Triton 3.6 cannot count up to it itself."""
    if INTERPRETED:
        return value.handle.data.item()
    return value


@device_function
def pixel_place(pixel, height, width):
    """Image, row and column of pixels that are counted over a batch."""
    return pixel // (width * height), pixel // width % height, pixel % width


@device_function
def lane_place(lane, lanes, length):
    """Image and position of lanes that run along one axis and over a batch, ``[lanes, 1]`` each; the image int64.

    Lanes past the end have the place of the last one, so that what they load exists.
    """
    real = tl.minimum(lane, lanes - 1)
    return (real // length).to(tl.int64)[:, None], (real % length)[:, None]


def pixel_stride(view: torch.Tensor) -> int:
    """Elements between neighbouring pixels of an NHWC view whose pixels follow each other without gaps between rows
    and images.
    """
    _, height, width, _ = view.shape
    stride = view.stride(2)
    assert view.stride(1) == width * stride and view.stride(0) == height * width * stride and view.stride(3) == 1
    return stride


def tile_shape(pixels: int, channels: int, elements: int) -> tuple[int, int]:
    """A tile of about ``elements`` as (pixels, channels), both powers of two.

    The interpreter pays for each program rather than for each element, so there a tile is as large as it can be.
    """
    elements, widest = (2**18, 2**12) if is_interpreted() else (elements, 64)
    columns = min(triton.next_power_of_2(channels), widest)
    return min(triton.next_power_of_2(pixels), elements // columns), columns
