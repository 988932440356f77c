"""A convolution, then max pooling of the result, in one launch; what is pooled never reaches memory.

A program owns a band of pooled rows over some columns and walks down the rows of the convolution. It computes one of
them at the ``KERNEL_X`` columns that its windows look at, and keeps the highest: of the window that is being completed,
and, where windows overlap by a row, of the row alone, with which the next window begins. So rows are computed once in a
band, and only columns that two windows share are computed twice.

Bias and ReLU come after the maximum. Both are monotone, and so is rounding: the bits are those of two launches.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from inception_fast.plan.plan import PoolStep
from inception_fast.triton_kernels.conv import PackedConv, input_precision, product
from inception_fast.triton_kernels.epilogue import epilogue_arguments, finish
from inception_fast.triton_kernels.functions import IDENTITY, RELU
from inception_fast.triton_kernels.numerics import lane_place
from inception_fast.triton_kernels.taps import leaves_image
from inception_fast.tuning.problem import ConvConfig


@triton.jit
def conv_pool_kernel(
    source,
    weight,
    taps,
    lanes,
    height,
    width,
    conv_height,
    conv_width,
    out_height,
    out_width,
    source_n,
    source_y,
    source_x,
    source_c,
    weight_row,
    conv_stride_y,
    conv_stride_x,
    origin_y,
    origin_x,
    dilation_y,
    dilation_x,
    padding_y,
    padding_x,
    operands,
    C_IN: tl.constexpr,
    TAPS: tl.constexpr,
    TAP_COLUMNS: tl.constexpr,
    KERNEL_Y: tl.constexpr,
    KERNEL_X: tl.constexpr,
    STRIDE_Y: tl.constexpr,
    STRIDE_X: tl.constexpr,
    BORDER: tl.constexpr,
    CHANNELS: tl.constexpr,
    STARTS: tl.constexpr,
    CHOSEN: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_RESIDUAL: tl.constexpr,
    FUNCTIONS: tl.constexpr,
    PRECISION: tl.constexpr,
    BAND: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    C_OUT: tl.constexpr = CHANNELS
    lane = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    first_n = tl.program_id(1) * BLOCK_N
    first_y = tl.program_id(2) * BAND
    n = tl.minimum(first_n + tl.arange(0, BLOCK_N), C_OUT - 1)
    image, out_x = lane_place(lane, lanes, out_width)
    pixel = image * (out_height * out_width) + out_x

    window = tl.full((BLOCK_M, BLOCK_N), float("-inf"), tl.float32)
    for step in range(0, BAND * STRIDE_Y + KERNEL_Y - STRIDE_Y):
        y = first_y * STRIDE_Y - padding_y + step
        row = tl.full((BLOCK_M, BLOCK_N), float("-inf"), tl.float32)
        if (y >= 0) & (y < conv_height):
            for column in range(KERNEL_X):
                x = out_x * STRIDE_X - padding_x + column
                inside = (x >= 0) & (x < conv_width)
                # What is outside computes a pixel of the border in its place, and is not looked at.
                left = tl.minimum(tl.maximum(x, 0), conv_width - 1) * conv_stride_x
                (sums,) = product(
                    source + image * source_n,
                    (weight + n[None, :] * weight_row,),
                    taps,
                    tl.zeros_like(left) + y * conv_stride_y,
                    left,
                    height,
                    width,
                    source_y,
                    source_x,
                    source_c,
                    TAP_COLUMNS,
                    origin_y,
                    origin_x,
                    dilation_y,
                    dilation_x,
                    C_IN,
                    TAPS * C_IN,
                    0,
                    TAPS * C_IN,
                    GRID=TAP_COLUMNS > 0,
                    ONE_TAP=C_IN % BLOCK_K == 0,
                    BORDER=BORDER,
                    RAGGED=TAPS * C_IN % BLOCK_K != 0,
                    PRECISION=PRECISION,
                    BLOCK_M=BLOCK_M,
                    BLOCK_K=BLOCK_K,
                    WIDTHS=(BLOCK_N,),
                    PARTS=1,
                )
                row = tl.maximum(row, tl.where(inside, sums, float("-inf")), propagate_nan=tl.PropagateNan.ALL)
        window = tl.maximum(window, row, propagate_nan=tl.PropagateNan.ALL)
        last = step - (KERNEL_Y - 1)
        if (last >= 0) & (last % STRIDE_Y == 0):
            out_y = first_y + last // STRIDE_Y
            finish(
                window,
                pixel + out_y * out_width,
                (lane < tl.where(out_y < out_height, lanes, 0))[:, None],
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
            if KERNEL_Y > STRIDE_Y:
                window = row
            else:
                window = tl.full((BLOCK_M, BLOCK_N), float("-inf"), tl.float32)


def launch_conv_pool(
    packed: PackedConv,
    pool: PoolStep,
    config: ConvConfig,
    band: int,
    plane: tuple[int, int],
    source: torch.Tensor,
    destination: torch.Tensor,
    activation: bool,
    allow_tf32: bool = False,
) -> None:
    """``relu?(maximum over the pool's windows of conv(source) + bias)``.

    Args:
        pool: its windows share at most one row with the next.
        band: pooled rows of a program.
        plane: height and width of what is pooled.
        source: ``[N, H, W, C_in]``, any strides.
        destination: ``[N, OH, OW, C_out]``, evenly spaced pixels.
    """
    assert pool.kernel[0] - pool.stride[0] in (0, 1)
    conv = packed.conv
    _, height, width, _ = source.shape
    batch, out_height, out_width, _ = destination.shape
    lanes = batch * out_width
    columns, *geometry = packed.grid or (0, 0, 0, 1, 1)
    grid = (triton.cdiv(lanes, config.m), triton.cdiv(conv.out_channels, config.n), triton.cdiv(out_height, band))
    conv_pool_kernel[grid](
        source,
        packed.weight,
        packed.taps,
        lanes,
        height,
        width,
        *plane,
        out_height,
        out_width,
        *source.stride(),
        packed.weight.stride(0),
        *conv.stride,
        *geometry,
        *pool.padding,
        **epilogue_arguments(packed.bias, None, [destination], [RELU if activation else IDENTITY], packed.weight),
        C_IN=conv.in_channels,
        TAPS=len(conv.taps),
        TAP_COLUMNS=columns,
        KERNEL_Y=pool.kernel[0],
        KERNEL_X=pool.kernel[1],
        STRIDE_Y=pool.stride[0],
        STRIDE_X=pool.stride[1],
        BORDER=leaves_image(conv, (height, width), plane),
        PRECISION=input_precision(source.dtype, allow_tf32),
        BAND=band,
        BLOCK_M=config.m,
        BLOCK_N=config.n,
        BLOCK_K=config.k,
        num_warps=config.warps,
        num_stages=config.stages,
    )
