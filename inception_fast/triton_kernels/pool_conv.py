"""Max pooling, then a 1x1 convolution of the result, in one launch: the product's rows are maxima over windows.

Each tile of output channels computes the maxima again, so this is for few output channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl

from inception_fast.plan.plan import PoolStep
from inception_fast.triton_kernels.conv import PackedConv, input_precision
from inception_fast.triton_kernels.epilogue import epilogue_arguments, finish
from inception_fast.triton_kernels.functions import Function
from inception_fast.triton_kernels.numerics import narrow, pixel_place, pixel_stride, widen
from inception_fast.triton_kernels.pool import window
from inception_fast.tuning.problem import ConvConfig


@triton.jit
def pool_conv_kernel(
    source,
    weight,
    pixels,
    height,
    width,
    out_height,
    out_width,
    source_stride,
    weight_row,
    stride_y,
    stride_x,
    padding_y,
    padding_x,
    operands,
    C_IN: tl.constexpr,
    KERNEL_Y: tl.constexpr,
    KERNEL_X: tl.constexpr,
    CHANNELS: tl.constexpr,
    STARTS: tl.constexpr,
    CHOSEN: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_RESIDUAL: tl.constexpr,
    FUNCTIONS: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    C_OUT: tl.constexpr = CHANNELS
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    first_n = tl.program_id(1) * BLOCK_N
    n = tl.minimum(first_n + tl.arange(0, BLOCK_N), C_OUT - 1)
    lane = tl.arange(0, BLOCK_K)
    # Rows past the end compute the last pixel again and are not stored.
    image, out_y, out_x = pixel_place(tl.minimum(m, pixels - 1), out_height, out_width)
    weights = weight + n[None, :] * weight_row + lane[:, None]

    acc = tl.full((BLOCK_M, BLOCK_N), 0.0, tl.float32)
    for k in range(0, C_IN, BLOCK_K):
        present = (k + lane < C_IN)[None, :]
        highest = window(
            source + k + lane[None, :],
            image.to(tl.int64) * height,
            out_y * stride_y - padding_y,
            out_x * stride_x - padding_x,
            height,
            width,
            width,
            source_stride,
            present,
            KERNEL_Y,
            KERNEL_X,
            True,
            BLOCK_M,
            BLOCK_K,
        )
        # Zero where there is no channel: the weights are zero there, and minus infinity times zero is not.
        a = narrow(tl.where(present, highest, 0.0), source.dtype.element_ty)
        acc = tl.dot(widen(a), widen(tl.load(weights + k)), acc, input_precision=PRECISION)
    finish(
        acc,
        m.to(tl.int64)[:, None],
        (m < pixels)[:, None],
        first_n,
        operands,
        CHANNELS,
        STARTS,
        CHOSEN,
        HAS_BIAS,
        HAS_RESIDUAL,
        FUNCTIONS,
        BLOCK_N,
    )


def launch_pool_conv(
    pool: PoolStep,
    packed: PackedConv,
    config: ConvConfig,
    source: torch.Tensor,
    destinations: Sequence[torch.Tensor],
    functions: Sequence[Function],
    allow_tf32: bool = False,
) -> None:
    """``function(conv(maximum over the pool's windows of source) + bias)``.

    Args:
        packed: a 1x1 convolution with stride 1.
        source: ``[N, H, W, C_in]``, evenly spaced pixels.
        destinations, functions: as for a convolution.
    """
    conv = packed.conv
    _, height, width, _ = source.shape
    batch, out_height, out_width, _ = destinations[0].shape
    pixels = batch * out_height * out_width
    pool_conv_kernel[(triton.cdiv(pixels, config.m), triton.cdiv(conv.out_channels, config.n))](
        source,
        packed.weight,
        pixels,
        height,
        width,
        out_height,
        out_width,
        pixel_stride(source),
        packed.weight.stride(0),
        *pool.stride,
        *pool.padding,
        **epilogue_arguments(packed.bias, None, destinations, functions, packed.weight),
        C_IN=conv.in_channels,
        KERNEL_Y=pool.kernel[0],
        KERNEL_X=pool.kernel[1],
        PRECISION=input_precision(source.dtype, allow_tf32),
        BLOCK_M=config.m,
        BLOCK_N=config.n,
        BLOCK_K=config.k,
        num_warps=config.warps,
        num_stages=config.stages,
    )
