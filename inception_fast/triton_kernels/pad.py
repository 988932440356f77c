"""``source * scale + shift`` per channel with a constant around it, of numbers or bytes in any strides."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from inception_fast.triton_kernels.numerics import narrow, pixel_place, pixel_stride, relu, tile_shape, widen

WARPS = 4


@triton.jit
def pad_kernel(
    source,
    destination,
    scale,
    shift,
    pixels,
    height,
    width,
    out_height,
    out_width,
    top,
    left,
    value,
    image_stride,
    row_stride,
    column_stride,
    channel_stride,
    destination_stride,
    CHANNELS: tl.constexpr,
    HAS_SCALE: tl.constexpr,
    HAS_SHIFT: tl.constexpr,
    RELU: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    image, out_y, out_x = pixel_place(m, out_height, out_width)
    y, x = out_y - top, out_x - left
    inside = (m < pixels) & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    pixel = image.to(tl.int64) * image_stride + y.to(tl.int64) * row_stride + x.to(tl.int64) * column_stride
    place = source + pixel[:, None] + (c.to(tl.int64) * channel_stride)[None, :]
    result = widen(tl.load(place, mask=inside[:, None] & (c < CHANNELS)[None, :], other=0)).to(tl.float32)
    if HAS_SCALE:
        result = result * tl.load(scale + c, mask=c < CHANNELS, other=0.0)[None, :]
    if HAS_SHIFT:
        result += tl.load(shift + c, mask=c < CHANNELS, other=0.0)[None, :]
    result = tl.where(inside[:, None], result, value)
    if RELU:
        result = relu(result)
    target = destination + m.to(tl.int64)[:, None] * destination_stride + c[None, :]
    mask = (m < pixels)[:, None] & (c < CHANNELS)[None, :]
    tl.store(target, narrow(result, destination.dtype.element_ty), mask=mask)


def launch_pad(
    source: torch.Tensor,
    destination: torch.Tensor,
    padding: tuple[int, int],
    value: float,
    scale: torch.Tensor | None,
    shift: torch.Tensor | None,
    activation: bool,
) -> None:
    """``[N, H, W, C]`` of any strides, uint8 or the destination's dtype, to ``[N, OH, OW, C]`` of evenly spaced pixels;
    ``scale`` and ``shift`` are ``[C]`` float32.
    """
    batch, height, width, channels = source.shape
    _, out_height, out_width, _ = destination.shape
    pixels = batch * out_height * out_width
    block_m, block_c = tile_shape(pixels, channels, 1024)
    pad_kernel[(triton.cdiv(pixels, block_m), triton.cdiv(channels, block_c))](
        source,
        destination,
        destination if scale is None else scale,
        destination if shift is None else shift,
        pixels,
        height,
        width,
        out_height,
        out_width,
        *padding,
        value,
        *source.stride(),
        pixel_stride(destination),
        CHANNELS=channels,
        HAS_SCALE=scale is not None,
        HAS_SHIFT=shift is not None,
        RELU=activation,
        BLOCK_M=block_m,
        BLOCK_C=block_c,
        num_warps=WARPS,
    )
