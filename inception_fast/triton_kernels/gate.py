"""``act(source * gate)`` over a tile of pixels x channels; the gate may be one for all channels, pixels, or both."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from inception_fast.triton_kernels.numerics import narrow, pixel_stride, relu, tile_shape, widen

WARPS = 4


@triton.jit
def gate_kernel(
    source,
    gate,
    destination,
    pixels,
    image_pixels,
    source_stride,
    gate_stride,
    destination_stride,
    CHANNELS: tl.constexpr,
    ONE_PIXEL: tl.constexpr,
    ONE_CHANNEL: tl.constexpr,
    RELU: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    c = (tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C))[None, :]
    mask = (m < pixels)[:, None] & (c < CHANNELS)
    pixel = m.to(tl.int64)[:, None]
    place = gate + ((m // image_pixels if ONE_PIXEL else m).to(tl.int64) * gate_stride)[:, None]
    if ONE_CHANNEL:
        factor = tl.load(place, mask=(m < pixels)[:, None], other=0.0)
    else:
        factor = tl.load(place + c, mask=mask, other=0.0)
    value = widen(tl.load(source + pixel * source_stride + c, mask=mask, other=0.0)).to(tl.float32)
    value = value * widen(factor).to(tl.float32)
    if RELU:
        value = relu(value)
    tl.store(destination + pixel * destination_stride + c, narrow(value, destination.dtype.element_ty), mask=mask)


def launch_gate(source: torch.Tensor, gate: torch.Tensor, destination: torch.Tensor, activation: bool) -> None:
    """``[N, H, W, C]`` tensors of evenly spaced pixels; the gate may have one channel, and one pixel an image."""
    _, height, width, channels = source.shape
    pixels = source.numel() // channels
    block_m, block_c = tile_shape(pixels, channels, 2048)
    gate_kernel[(triton.cdiv(pixels, block_m), triton.cdiv(channels, block_c))](
        source,
        gate,
        destination,
        pixels,
        height * width,
        pixel_stride(source),
        pixel_stride(gate),
        pixel_stride(destination),
        CHANNELS=channels,
        ONE_PIXEL=gate.shape[1:3] != source.shape[1:3],
        ONE_CHANNEL=gate.shape[3] != channels,
        RELU=activation,
        BLOCK_M=block_m,
        BLOCK_C=block_c,
        num_warps=WARPS,
    )
