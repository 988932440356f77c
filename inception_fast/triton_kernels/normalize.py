"""Each pixel's channel vector divided by ``max(its L2 norm, eps)``: one program a pixel, two passes over it."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from inception_fast.triton_kernels.numerics import narrow, pixel_stride, relu, widen

WARPS = 4


@triton.jit
def normalize_kernel(
    source,
    destination,
    source_stride,
    destination_stride,
    eps,
    CHANNELS: tl.constexpr,
    RELU: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    pixel = tl.program_id(0).to(tl.int64)
    source += pixel * source_stride
    destination += pixel * destination_stride
    lane = tl.arange(0, BLOCK_C)
    squares = tl.full((BLOCK_C,), 0.0, tl.float32)
    for c in range(0, CHANNELS, BLOCK_C):
        value = widen(tl.load(source + c + lane, mask=c + lane < CHANNELS, other=0.0)).to(tl.float32)
        squares += value * value
    norm = tl.maximum(tl.sqrt(tl.sum(squares, 0)), eps, propagate_nan=tl.PropagateNan.ALL)
    for c in range(0, CHANNELS, BLOCK_C):
        value = widen(tl.load(source + c + lane, mask=c + lane < CHANNELS, other=0.0)).to(tl.float32) / norm
        if RELU:
            value = relu(value)
        tl.store(destination + c + lane, narrow(value, destination.dtype.element_ty), mask=c + lane < CHANNELS)


def launch_normalize(source: torch.Tensor, destination: torch.Tensor, eps: float, activation: bool) -> None:
    """``[N, H, W, C]`` tensors of evenly spaced pixels."""
    channels = source.shape[3]
    normalize_kernel[(source.numel() // channels,)](
        source,
        destination,
        pixel_stride(source),
        pixel_stride(destination),
        eps,
        CHANNELS=channels,
        RELU=activation,
        BLOCK_C=min(triton.next_power_of_2(channels), 2048),
        num_warps=WARPS,
    )
