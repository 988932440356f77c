"""Depthwise convolution: one program reads, for a tile of pixels x channels, one tap after the other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from inception_fast.plan.plan import DepthwiseStep
from inception_fast.triton_kernels.functions import Function, apply
from inception_fast.triton_kernels.numerics import narrow, pixel_place, pixel_stride, tile_shape, widen
from inception_fast.triton_kernels.taps import TapGrid, leaves_image, tap_grid

WARPS = 4


@triton.jit
def depthwise_kernel(
    source,
    destination,
    weight,
    bias,
    slope,
    taps,
    pixels,
    height,
    width,
    out_height,
    out_width,
    source_stride,
    destination_stride,
    stride_y,
    stride_x,
    origin_y,
    origin_x,
    dilation_y,
    dilation_x,
    CHANNELS: tl.constexpr,
    TAPS: tl.constexpr,
    TAP_COLUMNS: tl.constexpr,
    BORDER: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    FUNCTION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    real = c < CHANNELS
    stored = (m < pixels)[:, None] & real[None, :]
    image, out_y, out_x = pixel_place(m, out_height, out_width)
    first_row = image.to(tl.int64) * height
    result = tl.full((BLOCK_M, BLOCK_C), 0.0, tl.float32)
    for t in range(TAPS):
        if TAP_COLUMNS > 0:
            dy = origin_y + (t // TAP_COLUMNS) * dilation_y
            dx = origin_x + (t % TAP_COLUMNS) * dilation_x
        else:
            dy = tl.load(taps + 2 * t)
            dx = tl.load(taps + 2 * t + 1)
        y = out_y * stride_y + dy
        x = out_x * stride_x + dx
        seen = stored
        if BORDER:
            seen = seen & ((y >= 0) & (y < height) & (x >= 0) & (x < width))[:, None]
        offset = ((first_row + y) * width + x) * source_stride
        value = widen(tl.load(source + offset[:, None] + c[None, :], mask=seen, other=0.0)).to(tl.float32)
        result += value * tl.load(weight + t * CHANNELS + c, mask=real, other=0.0)[None, :]
    if HAS_BIAS:
        result += tl.load(bias + c, mask=real, other=0.0)[None, :]
    slopes = 0.0
    if FUNCTION[0] == "prelu":
        slopes = tl.load(slope + c, mask=real, other=0.0)[None, :]
    place = destination + m.to(tl.int64)[:, None] * destination_stride + c[None, :]
    result = apply(result, slopes, FUNCTION, 0)
    tl.store(place, narrow(result, destination.dtype.element_ty), mask=stored)


@dataclass(frozen=True)
class PackedDepthwise:
    """A DepthwiseStep with its constants on a device.

    Attributes:
        weight: ``[T, C]`` float32.
        bias: ``[C]`` float32, or None.
        grid: the taps; None where they are no grid and the kernel reads them from ``taps``, int32 ``[T, 2]``.
    """

    step: DepthwiseStep
    weight: torch.Tensor
    bias: torch.Tensor | None
    taps: torch.Tensor
    grid: TapGrid | None


def pack_depthwise(step: DepthwiseStep, weight: torch.Tensor, bias: torch.Tensor | None) -> PackedDepthwise:
    """Packs constants that are on their device, float32, for :func:`launch_depthwise`."""
    taps = torch.tensor(step.taps, dtype=torch.int32, device=weight.device)
    return PackedDepthwise(step, weight, bias, taps, tap_grid(step))


def launch_depthwise(
    packed: PackedDepthwise, source: torch.Tensor, destination: torch.Tensor, function: Function
) -> None:
    """``function(depthwise convolution of source + bias)``, from ``[N, H, W, C]`` to ``[N, OH, OW, C]``; the pixels of
    both are evenly spaced.
    """
    step = packed.step
    batch, height, width, channels = source.shape
    _, out_height, out_width, _ = destination.shape
    pixels = batch * out_height * out_width
    columns, *geometry = packed.grid or (0, 0, 0, 1, 1)
    block_m, block_c = tile_shape(pixels, channels, 2048)
    depthwise_kernel[(triton.cdiv(pixels, block_m), triton.cdiv(channels, block_c))](
        source,
        destination,
        packed.weight,
        packed.weight if packed.bias is None else packed.bias,
        function.slope,
        packed.taps,
        pixels,
        height,
        width,
        out_height,
        out_width,
        pixel_stride(source),
        pixel_stride(destination),
        *step.stride,
        *geometry,
        CHANNELS=channels,
        TAPS=len(step.taps),
        TAP_COLUMNS=columns,
        BORDER=leaves_image(step, (height, width), (out_height, out_width)),
        HAS_BIAS=packed.bias is not None,
        FUNCTION=function.compiled,
        BLOCK_M=block_m,
        BLOCK_C=block_c,
        num_warps=WARPS,
    )
