"""Softmax over each pixel's channels, or its logarithm: a program has a few pixels, and reads them three times."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from inception_fast.triton_kernels.numerics import is_interpreted, narrow, pixel_stride, relu, widen

WARPS = 4


@triton.jit
def softmax_kernel(
    source,
    destination,
    pixels,
    source_stride,
    destination_stride,
    CHANNELS: tl.constexpr,
    LOG: tl.constexpr,
    RELU: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    lane = tl.arange(0, BLOCK_C)[None, :]
    real = (m < pixels)[:, None]
    source += m.to(tl.int64)[:, None] * source_stride + lane
    destination += m.to(tl.int64)[:, None] * destination_stride + lane

    # What is not there is minus infinity, whose exponential is zero; a NaN makes the sum one, whatever the maximum is.
    highest = tl.full((BLOCK_M, BLOCK_C), float("-inf"), tl.float32)
    for c in range(0, CHANNELS, BLOCK_C):
        value = tl.load(source + c, mask=real & (c + lane < CHANNELS), other=float("-inf"))
        highest = tl.maximum(highest, widen(value).to(tl.float32))
    top = tl.max(highest, 1)[:, None]
    total = tl.full((BLOCK_M, BLOCK_C), 0.0, tl.float32)
    for c in range(0, CHANNELS, BLOCK_C):
        value = tl.load(source + c, mask=real & (c + lane < CHANNELS), other=float("-inf"))
        total += tl.exp(widen(value).to(tl.float32) - top)
    total = tl.sum(total, 1)[:, None]
    for c in range(0, CHANNELS, BLOCK_C):
        mask = real & (c + lane < CHANNELS)
        shifted = widen(tl.load(source + c, mask=mask, other=0.0)).to(tl.float32) - top
        result = shifted - tl.log(total) if LOG else tl.exp(shifted) / total
        if RELU:
            result = relu(result)
        tl.store(destination + c, narrow(result, destination.dtype.element_ty), mask=mask)


def launch_softmax(source: torch.Tensor, destination: torch.Tensor, log: bool, activation: bool) -> None:
    """``[N, H, W, C]`` tensors of evenly spaced pixels."""
    channels = source.shape[3]
    pixels = source.numel() // channels
    elements = 2**18 if is_interpreted() else 2048
    block_c = min(triton.next_power_of_2(channels), elements)
    block_m = min(triton.next_power_of_2(pixels), elements // block_c)
    softmax_kernel[(triton.cdiv(pixels, block_m),)](
        source,
        destination,
        pixels,
        pixel_stride(source),
        pixel_stride(destination),
        CHANNELS=channels,
        LOG=log,
        RELU=activation,
        BLOCK_M=block_m,
        BLOCK_C=block_c,
        num_warps=WARPS,
    )
