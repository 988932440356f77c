"""``function(source * scale + shift + other)`` per channel, over a tile of pixels x channels."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from inception_fast.triton_kernels.functions import Function, apply
from inception_fast.triton_kernels.numerics import narrow, pixel_stride, tile_shape, widen

WARPS = 4


@triton.jit
def pointwise_kernel(
    source,
    destination,
    scale,
    shift,
    other,
    slope,
    pixels,
    source_stride,
    destination_stride,
    other_stride,
    CHANNELS: tl.constexpr,
    HAS_SCALE: tl.constexpr,
    HAS_SHIFT: tl.constexpr,
    HAS_OTHER: tl.constexpr,
    FUNCTION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    mask = (m < pixels)[:, None] & (c < CHANNELS)[None, :]
    pixel = m.to(tl.int64)[:, None]
    value = widen(tl.load(source + pixel * source_stride + c[None, :], mask=mask, other=0.0)).to(tl.float32)
    if HAS_SCALE:
        value = value * tl.load(scale + c, mask=c < CHANNELS, other=0.0)[None, :]
    if HAS_SHIFT:
        value += tl.load(shift + c, mask=c < CHANNELS, other=0.0)[None, :]
    if HAS_OTHER:
        value += widen(tl.load(other + pixel * other_stride + c[None, :], mask=mask, other=0.0)).to(tl.float32)
    slopes = 0.0
    if FUNCTION[0] == "prelu":
        slopes = tl.load(slope + c, mask=c < CHANNELS, other=0.0)[None, :]
    value = apply(value, slopes, FUNCTION, 0)
    place = destination + pixel * destination_stride + c[None, :]
    tl.store(place, narrow(value, destination.dtype.element_ty), mask=mask)


def launch_pointwise(
    source: torch.Tensor,
    destination: torch.Tensor,
    function: Function,
    scale: torch.Tensor | None = None,
    shift: torch.Tensor | None = None,
    other: torch.Tensor | None = None,
) -> None:
    """``[N, H, W, C]`` tensors of evenly spaced pixels; ``scale`` and ``shift`` are ``[C]`` float32."""
    channels = source.shape[3]
    pixels = source.numel() // channels
    block_m, block_c = tile_shape(pixels, channels, 2048)
    pointwise_kernel[(triton.cdiv(pixels, block_m), triton.cdiv(channels, block_c))](
        source,
        destination,
        source if scale is None else scale,
        source if shift is None else shift,
        source if other is None else other,
        function.slope,
        pixels,
        pixel_stride(source),
        pixel_stride(destination),
        0 if other is None else pixel_stride(other),
        CHANNELS=channels,
        HAS_SCALE=scale is not None,
        HAS_SHIFT=shift is not None,
        HAS_OTHER=other is not None,
        FUNCTION=function.compiled,
        BLOCK_M=block_m,
        BLOCK_C=block_c,
        num_warps=WARPS,
    )
