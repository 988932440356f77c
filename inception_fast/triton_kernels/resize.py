"""Bilinear interpolation, no antialiasing; the weights as ``torch.nn.functional.interpolate`` computes them."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from inception_fast.triton_kernels.numerics import (
    device_function,
    narrow,
    pixel_place,
    pixel_stride,
    relu,
    tile_shape,
    widen,
)

WARPS = 4


@device_function
def source_coordinate(out, scale, ALIGN_CORNERS: tl.constexpr):
    """Where an output row (or column) lies in the source; half-pixel centres unless the corners are aligned."""
    if ALIGN_CORNERS:
        return out.to(tl.float32) * scale
    return tl.maximum((out.to(tl.float32) + 0.5) * scale - 0.5, 0.0)


@triton.jit
def resize_kernel(
    source,
    destination,
    pixels,
    height,
    width,
    out_height,
    out_width,
    source_stride,
    destination_stride,
    scale_y,
    scale_x,
    CHANNELS: tl.constexpr,
    ALIGN_CORNERS: tl.constexpr,
    RELU: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    c = (tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C))[None, :]
    mask = (m < pixels)[:, None] & (c < CHANNELS)
    image, out_y, out_x = pixel_place(m, out_height, out_width)
    y = source_coordinate(out_y, scale_y, ALIGN_CORNERS)
    x = source_coordinate(out_x, scale_x, ALIGN_CORNERS)
    top = tl.minimum(y.to(tl.int32), height - 1)
    left = tl.minimum(x.to(tl.int32), width - 1)
    bottom = tl.minimum(top + 1, height - 1)
    right = tl.minimum(left + 1, width - 1)
    below = (y - top.to(tl.float32))[:, None]
    beside = (x - left.to(tl.float32))[:, None]

    first_row = image.to(tl.int64) * height
    above_row = source + ((first_row + top) * width * source_stride)[:, None] + c
    below_row = source + ((first_row + bottom) * width * source_stride)[:, None] + c
    first = (left * source_stride)[:, None]
    second = (right * source_stride)[:, None]
    upper = (1.0 - beside) * widen(tl.load(above_row + first, mask=mask, other=0.0)).to(tl.float32)
    upper += beside * widen(tl.load(above_row + second, mask=mask, other=0.0)).to(tl.float32)
    lower = (1.0 - beside) * widen(tl.load(below_row + first, mask=mask, other=0.0)).to(tl.float32)
    lower += beside * widen(tl.load(below_row + second, mask=mask, other=0.0)).to(tl.float32)
    result = (1.0 - below) * upper + below * lower
    if RELU:
        result = relu(result)
    place = destination + m.to(tl.int64)[:, None] * destination_stride + c
    tl.store(place, narrow(result, destination.dtype.element_ty), mask=mask)


def scale_of(size: int, out: int, align_corners: bool) -> float:
    """Source pixels per output pixel."""
    if align_corners:
        return (size - 1) / (out - 1) if out > 1 else 0.0
    return size / out


def launch_resize(source: torch.Tensor, destination: torch.Tensor, align_corners: bool, activation: bool) -> None:
    """``[N, H, W, C]`` to ``[N, OH, OW, C]``, both of evenly spaced pixels."""
    batch, height, width, channels = source.shape
    _, out_height, out_width, _ = destination.shape
    pixels = batch * out_height * out_width
    block_m, block_c = tile_shape(pixels, channels, 1024)
    resize_kernel[(triton.cdiv(pixels, block_m), triton.cdiv(channels, block_c))](
        source,
        destination,
        pixels,
        height,
        width,
        out_height,
        out_width,
        pixel_stride(source),
        pixel_stride(destination),
        scale_of(height, out_height, align_corners),
        scale_of(width, out_width, align_corners),
        CHANNELS=channels,
        ALIGN_CORNERS=align_corners,
        RELU=activation,
        BLOCK_M=block_m,
        BLOCK_C=block_c,
        num_warps=WARPS,
    )
