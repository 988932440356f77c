"""Local response normalisation across channels: a tile of pixels x channels, one neighbour after the other."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from inception_fast.plan.plan import LocalResponseStep
from inception_fast.triton_kernels.functions import power
from inception_fast.triton_kernels.numerics import narrow, pixel_stride, relu, tile_shape, widen

WARPS = 4


@triton.jit
def local_response_kernel(
    source,
    destination,
    pixels,
    source_stride,
    destination_stride,
    k,
    scale,
    CHANNELS: tl.constexpr,
    FIRST: tl.constexpr,
    LAST: tl.constexpr,
    BETA: tl.constexpr,
    RELU: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)[None, :]
    pixel = m.to(tl.int64)[:, None]
    stored = (m < pixels)[:, None] & (c < CHANNELS)
    squares = tl.full((BLOCK_M, BLOCK_C), 0.0, tl.float32)
    for j in range(FIRST, LAST + 1):
        inside = stored & (c + j >= 0) & (c + j < CHANNELS)
        value = widen(tl.load(source + pixel * source_stride + (c + j), mask=inside, other=0.0)).to(tl.float32)
        squares += value * value
    value = widen(tl.load(source + pixel * source_stride + c, mask=stored, other=0.0)).to(tl.float32)
    result = value / power(k + scale * squares, BETA)
    if RELU:
        result = relu(result)
    place = destination + pixel * destination_stride + c
    tl.store(place, narrow(result, destination.dtype.element_ty), mask=stored)


def launch_local_response(step: LocalResponseStep, source: torch.Tensor, destination: torch.Tensor) -> None:
    """``[N, H, W, C]`` tensors of evenly spaced pixels."""
    channels = source.shape[3]
    pixels = source.numel() // channels
    block_m, block_c = tile_shape(pixels, channels, 2048)
    local_response_kernel[(triton.cdiv(pixels, block_m), triton.cdiv(channels, block_c))](
        source,
        destination,
        pixels,
        pixel_stride(source),
        pixel_stride(destination),
        float(step.k),
        step.alpha / step.size,
        CHANNELS=channels,
        # A window may be wider than all channels.
        FIRST=max(-(step.size // 2), 1 - channels),
        LAST=min((step.size - 1) // 2, channels - 1),
        BETA=step.beta,
        RELU=step.destination.relu,
        BLOCK_M=block_m,
        BLOCK_C=block_c,
        num_warps=WARPS,
    )
