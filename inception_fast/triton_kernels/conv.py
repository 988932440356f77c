"""Convolution as an implicit GEMM: M = output pixels, N = output channels, K = taps x input channels.

One program computes a ``BLOCK_M x BLOCK_N`` tile of the product and adds bias and residual to it; each of the step's
destinations (segments of the output channels) then gets its share of the tile, through its own pointer and function.
Triton's tiles are powers of two wide. A tile of 192 channels is two of them side by side, 128 and 64, that are
multiplied with the same pixels; so 192 output channels cost 192.

A block of K is either inside one tap (wide inputs, ``C_IN % BLOCK_K == 0``), whose offset and border test are then
scalars and vectors, or it runs through several (ragged inputs: 3, 48, 80 channels), where every column of the tile has
its own tap. Nothing is padded to full blocks, so that 80 channels cost 80, and three channels of a first layer fill a
matrix instruction with neighbouring taps.

Where there are few tiles, several programs share one, each with a part of K; see :mod:`.split`.
"""

# Triton unrolls the loops that build tuples; to mypy they grow without bound.
# mypy: disable-error-code="assignment, misc"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from inception_fast.plan.plan import Convolution
from inception_fast.triton_kernels.epilogue import epilogue_arguments, finish
from inception_fast.triton_kernels.functions import Function
from inception_fast.triton_kernels.numerics import device_function, is_interpreted, loop_end, pixel_place, widen
from inception_fast.triton_kernels.split import (
    Workspace,
    is_last,
    split_arguments,
    sum_of_parts,
)
from inception_fast.triton_kernels.taps import TapGrid, leaves_image, tap_grid
from inception_fast.tuning.problem import ConvConfig
from inception_fast.tuning.workspace import programs_of

K_ALIGNMENT = 1024 if is_interpreted() else 128
"""Weight rows are zero-padded to a multiple of it, so that no load of weights needs a mask along K."""


@device_function
def product(
    image,
    rows,
    taps,
    top,
    left,
    height,
    width,
    source_y,
    source_x,
    source_c,
    tap_columns,
    origin_y,
    origin_x,
    dilation_y,
    dilation_x,
    c_in,
    depth,
    begin,
    end,
    GRID: tl.constexpr,
    ONE_TAP: tl.constexpr,
    BORDER: tl.constexpr,
    RAGGED: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    WIDTHS: tl.constexpr,
    PARTS: tl.constexpr,
):
    """The sums of a tile's PARTS parts over ``[begin, end)`` of K, a tuple of ``[BLOCK_M, WIDTHS[p]]`` float32.

    Args:
        image: ``[BLOCK_M, 1]``: first pixel of the image that a row belongs to.
        rows: of each part, ``[1, WIDTHS[p]]``: first weight of an output channel.
        top, left: ``[BLOCK_M, 1]``: the input pixel that the taps are relative to.
        depth: taps x input channels.
        begin: a multiple of BLOCK_K.
        GRID: whether the taps are a grid, which ``tap_columns`` to ``dilation_x`` describe; else they are in ``taps``.
        ONE_TAP: whether no step is in two taps.
        BORDER, RAGGED: whether a tap may be outside the image, and a step past the end of ``depth``.
    """
    lane = tl.arange(0, BLOCK_K)
    base = image + top.to(tl.int64) * source_y + left * source_x
    sums = ()
    for p in tl.static_range(PARTS):
        sums = sums + (tl.full((BLOCK_M, WIDTHS[p]), 0.0, tl.float32),)  # noqa: RUF005
    for k in range(begin, end, BLOCK_K):
        if ONE_TAP:
            tap = k // c_in
            # Triton 3.6 does not see that the remainder is a multiple too, and would load element by element.
            channel = tl.multiple_of(k % c_in, BLOCK_K) + lane[None, :]
        else:
            tap = (k + lane[None, :]) // c_in
            channel = (k + lane[None, :]) % c_in
        if GRID:
            dy = origin_y + (tap // tap_columns) * dilation_y
            dx = origin_x + (tap % tap_columns) * dilation_x
        else:
            dy = tl.load(taps + 2 * tap)
            dx = tl.load(taps + 2 * tap + 1)
        pointers = base + (dy * source_y + dx * source_x + channel * source_c)
        if BORDER:
            y = top + dy
            x = left + dx
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            if RAGGED:
                inside = inside & (k + lane[None, :] < depth)
            a = tl.load(pointers, mask=inside, other=0.0)
        elif RAGGED:
            a = tl.load(pointers, mask=(k + lane[None, :] < depth), other=0.0)
        else:
            a = tl.load(pointers)
        updated = ()
        for p in tl.static_range(PARTS):
            weights = widen(tl.load(rows[p] + lane[:, None] + k))
            updated = updated + (tl.dot(widen(a), weights, sums[p], input_precision=PRECISION),)  # noqa: RUF005
        sums = updated
    return sums


@device_function
def weight_rows(weight, row, first_n, last_n, WIDTHS: tl.constexpr, PARTS: tl.constexpr):
    """Of each part of a tile, ``[1, WIDTHS[p]]``: first weight of an output channel, and of the last beyond it."""
    rows = ()
    for p in tl.static_range(PARTS):
        n = first_n + tl.arange(0, WIDTHS[p])
        rows = rows + (weight + tl.minimum(n, last_n)[None, :] * row,)  # noqa: RUF005
        first_n += WIDTHS[p]
    return rows


@triton.jit
def conv_kernel(
    source,
    weight,
    taps,
    pixels,
    height,
    width,
    out_height,
    out_width,
    source_n,
    source_y,
    source_x,
    source_c,
    weight_row,
    stride_y,
    stride_x,
    origin_y,
    origin_x,
    dilation_y,
    dilation_x,
    operands,
    partials,
    counters,
    segment,
    C_IN: tl.constexpr,
    TAPS: tl.constexpr,
    TAP_COLUMNS: tl.constexpr,
    BORDER: tl.constexpr,
    CHANNELS: tl.constexpr,
    STARTS: tl.constexpr,
    CHOSEN: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_RESIDUAL: tl.constexpr,
    FUNCTIONS: tl.constexpr,
    PRECISION: tl.constexpr,
    SPLIT: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    WIDTHS: tl.constexpr,
    PARTS: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    C_OUT: tl.constexpr = CHANNELS
    K: tl.constexpr = TAPS * C_IN
    # Programs that share a tile of pixels are neighbours: it is read from memory once, and the weights stay in L2.
    tiles_n = (C_OUT + BLOCK_N - 1) // BLOCK_N
    tile, split, splits, tiles = tl.program_id(0), 0, 1, 0
    begin, end = 0, K
    if SPLIT:
        tiles = tl.cdiv(pixels, BLOCK_M) * tiles_n
        split, splits = tile // tiles, tl.cdiv(K, segment)
        tile = tile % tiles
        begin, end = loop_end(split * segment), loop_end(tl.minimum(split * segment + segment, K))
    m = (tile // tiles_n) * BLOCK_M + tl.arange(0, BLOCK_M)
    first_n = (tile % tiles_n) * BLOCK_N

    # Rows past the end compute the last pixel again, which needs no mask; they are not stored.
    image, out_y, out_x = pixel_place(tl.minimum(m, pixels - 1), out_height, out_width)
    sums = product(
        source + image.to(tl.int64)[:, None] * source_n,
        weight_rows(weight, weight_row, first_n, C_OUT - 1, WIDTHS, PARTS),
        taps,
        (out_y * stride_y)[:, None],
        (out_x * stride_x)[:, None],
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
        K,
        begin,
        end,
        GRID=TAP_COLUMNS > 0,
        ONE_TAP=C_IN % BLOCK_K == 0,
        BORDER=BORDER,
        RAGGED=K % BLOCK_K != 0,
        PRECISION=PRECISION,
        BLOCK_M=BLOCK_M,
        BLOCK_K=BLOCK_K,
        WIDTHS=WIDTHS,
        PARTS=PARTS,
    )
    complete = True
    if SPLIT:
        complete = is_last(sums, partials, counters, tile, split * tiles, splits, BLOCK_M, BLOCK_N, WIDTHS, PARTS)
    if complete:
        first = 0
        for p in tl.static_range(PARTS):
            acc = sums[p]
            if SPLIT:
                acc = sum_of_parts(partials, tile, tiles, splits, first, BLOCK_M, BLOCK_N, WIDTHS[p], AT_ONCE)
            finish(
                acc,
                m.to(tl.int64)[:, None],
                (m < pixels)[:, None],
                first_n + first,
                operands,
                CHANNELS,
                STARTS,
                CHOSEN,
                HAS_BIAS,
                HAS_RESIDUAL,
                FUNCTIONS,
                WIDTHS[p],
            )
            first += WIDTHS[p]


@dataclass(frozen=True)
class PackedConv:
    """A Convolution with its constants on a device.

    Attributes:
        weight: ``[C_out, K]``, K = taps x input channels, zero-padded to K_ALIGNMENT.
        bias: ``[C_out]`` float32, or None.
        grid: the taps; None where they are no grid and the kernel reads them from ``taps``, int32 ``[., 2]``.
    """

    conv: Convolution
    weight: torch.Tensor
    bias: torch.Tensor | None
    taps: torch.Tensor
    grid: TapGrid | None


def pack_conv(conv: Convolution, constants: Mapping[str, torch.Tensor], device: torch.device) -> PackedConv:
    """Packs the canonical ``[C_out, T, C_in]`` weights for :func:`launch_conv`."""
    k = len(conv.taps) * conv.in_channels
    canonical = constants[conv.weight]
    weight = canonical.new_zeros(conv.out_channels, triton.cdiv(k, K_ALIGNMENT) * K_ALIGNMENT)
    weight[:, :k] = canonical.reshape(conv.out_channels, k)
    # The last block may run past the last tap; its loads are masked, their addresses only have to exist.
    table = conv.taps + conv.taps[-1:] * (triton.cdiv(weight.shape[1], conv.in_channels) - len(conv.taps))
    bias = None if conv.bias is None else constants[conv.bias].float().to(device)
    taps = torch.tensor(table, dtype=torch.int32, device=device)
    return PackedConv(conv, weight.to(device), bias, taps, tap_grid(conv))


def tile_arguments(config: ConvConfig) -> dict[str, object]:
    """The tile of a kernel that calls :func:`product`, by name."""
    return {
        "BLOCK_M": config.m,
        "BLOCK_N": config.n,
        "BLOCK_K": config.k,
        "WIDTHS": config.widths,
        "PARTS": len(config.widths),
    }


def input_precision(dtype: torch.dtype, allow_tf32: bool) -> str:
    """The name of the product's arithmetic, as ``tl.dot`` takes it."""
    return "tf32" if allow_tf32 and dtype == torch.float32 else "ieee"


def launch_conv(
    packed: PackedConv,
    config: ConvConfig,
    source: torch.Tensor,
    destinations: Sequence[torch.Tensor],
    functions: Sequence[Function],
    residual: torch.Tensor | None = None,
    allow_tf32: bool = False,
    workspace: Workspace | None = None,
) -> None:
    """``function(conv(source) + bias + residual)``, its channels cut into ``destinations`` in order.

    Args:
        source: ``[N, H, W, C_in]``, any strides.
        destinations: ``[N, OH, OW, c]`` each, the c adding up to C_out; views whose pixels are evenly spaced.
        functions: one for each destination.
        residual: ``[N, OH, OW, C_out]``, evenly spaced pixels.
        workspace: needed where ``config.splits > 1``; launches on one stream may share it.
    """
    conv = packed.conv
    batch, out_height, out_width, _ = destinations[0].shape
    _, height, width, _ = source.shape
    pixels = batch * out_height * out_width
    columns, *geometry = packed.grid or (0, 0, 0, 1, 1)
    depth = len(conv.taps) * conv.in_channels
    programs = programs_of([(pixels, conv.out_channels, depth)], config)
    conv_kernel[(programs,)](
        source,
        packed.weight,
        packed.taps,
        pixels,
        height,
        width,
        out_height,
        out_width,
        *source.stride(),
        packed.weight.stride(0),
        *conv.stride,
        *geometry,
        **epilogue_arguments(packed.bias, residual, destinations, functions, packed.weight),
        **split_arguments(config, depth, programs, workspace, packed.weight),
        C_IN=conv.in_channels,
        TAPS=len(conv.taps),
        TAP_COLUMNS=columns,
        BORDER=leaves_image(conv, (height, width), (out_height, out_width)),
        PRECISION=input_precision(source.dtype, allow_tf32),
        **tile_arguments(config),
        num_warps=config.warps,
        num_stages=config.stages,
    )
