"""Max and average pooling: one program reads the windows of a tile of pixels x channels, element by window element.

A window that covers the whole image (the head of every classifier) is a reduction over pixels instead, with a tile of
pixels in flight at once; see :func:`mean_kernel`.
"""

from __future__ import annotations

from functools import cache

import torch
import triton
import triton.language as tl

from inception_fast.plan.plan import PoolStep
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
SERIAL = tl.constexpr(256)
"""Numbers that are summed one after the other: longer sums are sums of such, or their error would grow with the
length.
"""


@device_function
def window_extent(first, kernel, size, padding_end, INSIDE: tl.constexpr):
    """Rows (or columns) of a window that its divisor counts."""
    if INSIDE:
        return tl.minimum(first + kernel, size) - tl.maximum(first, 0)
    return tl.minimum(first + kernel, size + padding_end) - first


@device_function
def adaptive_extent(window, windows, size):
    """Where one of ``windows`` windows along an axis of ``size`` pixels begins and ends."""
    return window * size // windows, ((window + 1) * size + windows - 1) // windows


@device_function
def combine(a, b, MAX: tl.constexpr):
    if MAX:
        return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)
    return a + b


@device_function
def window(
    channels,
    image,
    first_y,
    first_x,
    end_y,
    end_x,
    width,
    source_stride,
    present,
    KERNEL_Y: tl.constexpr,
    KERNEL_X: tl.constexpr,
    MAX: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """The maxima or the sums over windows, ``[BLOCK_M, BLOCK_C]`` float32.

    Args:
        channels: ``[1, BLOCK_C]``: those of the first pixel.
        image, first_y, first_x: ``[BLOCK_M]``: the image's first row, counted over the batch, and the window's corner.
        end_y, end_x: where the image ends, or the window if that is before.
        present: what is read at all.
    """
    outside = float("-inf") if MAX else 0.0
    result = tl.full((BLOCK_M, BLOCK_C), outside, tl.float32)
    for start in range(0, KERNEL_Y * KERNEL_X, SERIAL):
        part = tl.full((BLOCK_M, BLOCK_C), outside, tl.float32)
        for element in range(start, min(start + SERIAL, KERNEL_Y * KERNEL_X)):
            y = first_y + element // KERNEL_X
            x = first_x + element % KERNEL_X
            inside = (y >= 0) & (y < end_y) & (x >= 0) & (x < end_x)
            offset = ((image + y) * width + x) * source_stride
            value = tl.load(channels + offset[:, None], mask=present & inside[:, None], other=outside)
            part = combine(part, widen(value).to(tl.float32), MAX)
        result = combine(result, part, MAX)
    return result


@triton.jit
def pool_kernel(
    source,
    destination,
    bias,
    pixels,
    height,
    width,
    out_height,
    out_width,
    source_stride,
    destination_stride,
    stride_y,
    stride_x,
    padding_y,
    padding_x,
    padding_end_y,
    padding_end_x,
    KERNEL_Y: tl.constexpr,
    KERNEL_X: tl.constexpr,
    CHANNELS: tl.constexpr,
    MAX: tl.constexpr,
    INSIDE: tl.constexpr,
    ADAPTIVE: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    RELU: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    stored = (m < pixels)[:, None] & (c < CHANNELS)[None, :]
    image, out_y, out_x = pixel_place(m, out_height, out_width)
    if ADAPTIVE:
        first_y, end_y = adaptive_extent(out_y, out_height, height)
        first_x, end_x = adaptive_extent(out_x, out_width, width)
    else:
        first_y, end_y = out_y * stride_y - padding_y, height
        first_x, end_x = out_x * stride_x - padding_x, width
    result = window(
        source + c[None, :],
        image.to(tl.int64) * height,
        first_y,
        first_x,
        end_y,
        end_x,
        width,
        source_stride,
        stored,
        KERNEL_Y,
        KERNEL_X,
        MAX,
        BLOCK_M,
        BLOCK_C,
    )
    if not MAX:
        rows = window_extent(first_y, KERNEL_Y, end_y, padding_end_y, INSIDE)
        columns = window_extent(first_x, KERNEL_X, end_x, padding_end_x, INSIDE)
        result = result / (rows * columns).to(tl.float32)[:, None]
    if HAS_BIAS:
        result += tl.load(bias + c, mask=c < CHANNELS, other=0.0)[None, :]
    if RELU:
        result = relu(result)
    place = destination + m.to(tl.int64)[:, None] * destination_stride + c[None, :]
    tl.store(place, narrow(result, destination.dtype.element_ty), mask=stored)


@triton.jit
def mean_kernel(
    source,
    destination,
    bias,
    source_stride,
    destination_stride,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    RELU: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    image = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    p = tl.arange(0, BLOCK_P)
    total = tl.full((BLOCK_P, BLOCK_C), 0.0, tl.float32)
    for start in range(0, PIXELS, SERIAL * BLOCK_P):
        part = tl.full((BLOCK_P, BLOCK_C), 0.0, tl.float32)
        for first in range(start, min(start + SERIAL * BLOCK_P, PIXELS), BLOCK_P):
            offset = (image * PIXELS + first + p) * source_stride
            mask = (first + p < PIXELS)[:, None] & (c < CHANNELS)[None, :]
            part += widen(tl.load(source + offset[:, None] + c[None, :], mask=mask, other=0.0)).to(tl.float32)
        total += part
    result = tl.sum(total, 0) / PIXELS
    if HAS_BIAS:
        result += tl.load(bias + c, mask=c < CHANNELS, other=0.0)
    if RELU:
        result = relu(result)
    place = destination + image * destination_stride + c
    tl.store(place, narrow(result, destination.dtype.element_ty), mask=c < CHANNELS)


@cache
def longest_window(size: int, windows: int) -> int:
    """Pixels of the longest adaptive window along an axis."""
    return max(-(-(i + 1) * size // windows) - i * size // windows for i in range(windows))


def launch_pool(step: PoolStep, source: torch.Tensor, destination: torch.Tensor, bias: torch.Tensor | None) -> None:
    """One PoolStep.

    Args:
        source: ``[N, H, W, C]``, evenly spaced pixels.
        destination: ``[N, OH, OW, C]``, evenly spaced pixels.
        bias: ``[C]`` float32.
    """
    batch, height, width, channels = source.shape
    _, out_height, out_width, _ = destination.shape
    arguments = (source, destination, source if bias is None else bias)
    flags = {"CHANNELS": channels, "HAS_BIAS": bias is not None, "RELU": step.destination.relu, "num_warps": WARPS}
    whole_image = step.kernel == (height, width) and step.padding == (0, 0) and (out_height, out_width) == (1, 1)
    if whole_image and step.mode == "avg":
        block_p, block_c = tile_shape(height * width, channels, 2048)
        # The interpreter sums a tile's pixels one after the other.
        block_p = min(block_p, SERIAL.value)
        mean_kernel[(batch, triton.cdiv(channels, block_c))](
            *arguments,
            pixel_stride(source),
            pixel_stride(destination),
            PIXELS=height * width,
            BLOCK_P=block_p,
            BLOCK_C=block_c,
            **flags,
        )
        return
    pixels = batch * out_height * out_width
    block_m, block_c = tile_shape(pixels, channels, 2048)
    kernel = step.kernel
    if step.adaptive:
        kernel = (longest_window(height, out_height), longest_window(width, out_width))
    pool_kernel[(triton.cdiv(pixels, block_m), triton.cdiv(channels, block_c))](
        *arguments,
        pixels,
        height,
        width,
        out_height,
        out_width,
        pixel_stride(source),
        pixel_stride(destination),
        *step.stride,
        *step.padding,
        *step.padding_end,
        KERNEL_Y=kernel[0],
        KERNEL_X=kernel[1],
        MAX=step.mode == "max",
        INSIDE=step.divisor == "inside",
        ADAPTIVE=step.adaptive,
        BLOCK_M=block_m,
        BLOCK_C=block_c,
        **flags,
    )
