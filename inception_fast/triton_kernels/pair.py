"""1xn followed by nx1, or the other way round, in one launch; the intermediate stays in registers.

Call the direction of the second convolution's taps u, and the other one v. Triton cannot index a tile that it holds on
the chip, so a tile of the intermediate cannot be read again at n offsets. Turned round, it need not be: a program
walks down u, computes one line of the intermediate at a time, and multiplies it by all n taps at once, into n
accumulators that belong to the n lines of the result which that line is a part of. With each step one of them is
complete and the others move up. So no line is computed twice because of the taps, and there is no halo within a band.

The price is the accumulators: n tiles of lanes x BLOCK_N in registers allow only narrow tiles, and every tile of output
channels computes the intermediate again, as does every band but the first for its ``n - 1`` lines of overlap.
"""

# Triton unrolls the loops that build the tuples of accumulators; to mypy they grow without bound.
# mypy: disable-error-code="assignment, misc"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import triton
import triton.language as tl

from inception_fast.plan.plan import Convolution
from inception_fast.triton_kernels.conv import PackedConv, input_precision
from inception_fast.triton_kernels.epilogue import epilogue_arguments, finish
from inception_fast.triton_kernels.functions import Function
from inception_fast.triton_kernels.numerics import is_interpreted, lane_place, narrow, relu, widen

LONGEST = 7
"""Taps of the second convolution: as many accumulators as a program can hold."""


@triton.jit
def pair_kernel(
    source,
    first_weight,
    first_bias,
    second_weight,
    lanes,
    source_extent_u,
    source_extent_v,
    middle_u,
    middle_v,
    out_u,
    out_v,
    source_n,
    source_u,
    source_v,
    out_pixel_u,
    out_pixel_v,
    first_row,
    second_row,
    first_origin_u,
    first_origin_v,
    first_dilation,
    second_origin_u,
    second_origin_v,
    operands,
    C_IN: tl.constexpr,
    C_MIDDLE: tl.constexpr,
    FIRST_TAPS: tl.constexpr,
    SECOND_TAPS: tl.constexpr,
    FIRST_HAS_BIAS: tl.constexpr,
    FIRST_RELU: tl.constexpr,
    CHANNELS: tl.constexpr,
    STARTS: tl.constexpr,
    CHOSEN: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_RESIDUAL: tl.constexpr,
    FUNCTIONS: tl.constexpr,
    PRECISION: tl.constexpr,
    BAND: tl.constexpr,
    BLOCK_L: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    C_OUT: tl.constexpr = CHANNELS
    DEPTH: tl.constexpr = FIRST_TAPS * C_IN
    lane = tl.program_id(0) * BLOCK_L + tl.arange(0, BLOCK_L)
    first_n = tl.program_id(1) * BLOCK_N
    first_u = tl.program_id(2) * BAND
    n = tl.minimum(first_n + tl.arange(0, BLOCK_N), C_OUT - 1)
    c_lane = tl.arange(0, BLOCK_C)
    k_lane = tl.arange(0, BLOCK_K)

    image, v = lane_place(lane, lanes, out_v)
    middle_inside = (v + second_origin_v >= 0) & (v + second_origin_v < middle_v)
    source_v0 = v + second_origin_v + first_origin_v
    pixel = image * (out_u * out_v) + v * out_pixel_v

    accumulators = ()
    for _ in tl.static_range(SECOND_TAPS):
        accumulators = accumulators + (tl.full((BLOCK_L, BLOCK_N), 0.0, tl.float32),)  # noqa: RUF005
    for step in range(0, BAND + SECOND_TAPS - 1):
        # The line of the intermediate that completes line u of the result, and begins line u + SECOND_TAPS - 1.
        u = first_u + step - (SECOND_TAPS - 1)
        line = first_u + step + second_origin_u
        if (line >= 0) & (line < middle_u):
            source_line = line + first_origin_u
            line_start = source + image * source_n + source_line.to(tl.int64) * source_u
            extent_v = tl.where((source_line >= 0) & (source_line < source_extent_u), source_extent_v, 0)
            for c in range(0, C_MIDDLE, BLOCK_C):
                middle = tl.full((BLOCK_L, BLOCK_C), 0.0, tl.float32)
                for k in range(0, DEPTH, BLOCK_K):
                    depth = k + k_lane[None, :]
                    x = source_v0 + (depth // C_IN) * first_dilation
                    inside = (depth < DEPTH) & (x >= 0) & (x < extent_v)
                    a = tl.load(line_start + (x * source_v + depth % C_IN), mask=inside, other=0.0)
                    rows = tl.minimum(c + c_lane, C_MIDDLE - 1)[None, :] * first_row
                    b = tl.load(first_weight + rows + k + k_lane[:, None])
                    middle = tl.dot(widen(a), widen(b), middle, input_precision=PRECISION)
                if FIRST_HAS_BIAS:
                    middle += tl.load(first_bias + c + c_lane, mask=c + c_lane < C_MIDDLE, other=0.0)[None, :]
                if FIRST_RELU:
                    middle = relu(middle)
                middle = tl.where(middle_inside & (c + c_lane < C_MIDDLE)[None, :], middle, 0.0)
                operand = widen(narrow(middle, source.dtype.element_ty))
                updated = ()
                for t in tl.static_range(SECOND_TAPS):
                    # Line u + t of the result takes this line at tap SECOND_TAPS - 1 - t.
                    column = (SECOND_TAPS - 1 - t) * C_MIDDLE + c + c_lane[:, None]
                    b = tl.load(
                        second_weight + n[None, :] * second_row + column,
                        mask=(c + c_lane < C_MIDDLE)[:, None],
                        other=0.0,
                    )
                    result = tl.dot(operand, widen(b), accumulators[t], input_precision=PRECISION)
                    updated = updated + (result,)  # noqa: RUF005
                accumulators = updated
        finish(
            accumulators[0],
            pixel + u * out_pixel_u,
            (lane < tl.where((step >= SECOND_TAPS - 1) & (u < out_u), lanes, 0))[:, None],
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
        moved = ()
        for t in tl.static_range(1, SECOND_TAPS):
            moved = moved + (accumulators[t],)  # noqa: RUF005
        accumulators = moved + (tl.full((BLOCK_L, BLOCK_N), 0.0, tl.float32),)  # noqa: RUF005


@dataclass(frozen=True)
class PairConfig:
    """Tile of a program: lanes (pixels along v, over images), output channels, middle channels, step along K."""

    lanes: int
    n: int
    c: int
    k: int
    warps: int = 8
    stages: int = 2


def pair_config(first: Convolution, second: Convolution, lanes: int, itemsize: int) -> PairConfig:
    """The largest tile whose accumulators stay in registers on sm_80, sm_90 and sm_100.

    On a GPU it does not depend on the batch, so that sums have one order.
    """
    if is_interpreted():
        sizes = (lanes, second.out_channels, first.out_channels, len(first.taps) * first.in_channels)
        return PairConfig(*(min(triton.next_power_of_2(size), 512) for size in sizes))
    c, k = (32, 64) if itemsize == 2 else (16, 16)
    return PairConfig(lanes=64, n=32 if len(second.taps) <= 3 and itemsize == 2 else 16, c=c, k=k)


def is_vertical(first: Convolution, second: Convolution) -> bool | None:
    """Whether the second convolution runs along y and the first along x; None where :func:`launch_pair` cannot."""
    if first.stride != (1, 1) or second.stride != (1, 1):
        return None
    for vertical in (True, False):
        along, across = (0, 1) if vertical else (1, 0)
        u, v = [t[along] for t in second.taps], [t[across] for t in first.taps]
        straight = len({t[across] for t in second.taps}) == 1 and len({t[along] for t in first.taps}) == 1
        contiguous = u == list(range(u[0], u[0] + len(u))) and len(u) <= LONGEST
        even = len({b - a for a, b in pairwise(v)}) <= 1
        if straight and contiguous and even:
            return vertical
    return None


def launch_pair(
    first: PackedConv,
    second: PackedConv,
    first_relu: bool,
    middle: tuple[int, int],
    source: torch.Tensor,
    destinations: Sequence[torch.Tensor],
    functions: Sequence[Function],
    residual: torch.Tensor | None = None,
    allow_tf32: bool = False,
    bands: int = 1,
) -> None:
    """``function(second(relu?(first(source))) + residual)``.

    Args:
        middle: height and width of the intermediate.
        source: ``[N, H, W, C_in]``, contiguous channels.
        destinations, functions, residual: as for a convolution.
        bands: programs that share a column of the image.

    The convolutions must be ones that :func:`is_vertical` has an answer for.
    """
    vertical = is_vertical(first.conv, second.conv)
    assert vertical is not None and source.stride(3) == 1
    along, across = (0, 1) if vertical else (1, 0)
    batch, *out, _ = destinations[0].shape
    lanes = batch * out[across]
    config = pair_config(first.conv, second.conv, lanes, source.element_size())
    v_taps = [t[across] for t in first.conv.taps]
    strides = source.stride()[1:3]
    out_pixel = (out[1], 1)
    grid = (triton.cdiv(lanes, config.lanes), triton.cdiv(second.conv.out_channels, config.n), bands)
    pair_kernel[grid](
        source,
        first.weight,
        first.weight if first.bias is None else first.bias,
        second.weight,
        lanes,
        source.shape[1 + along],
        source.shape[1 + across],
        middle[along],
        middle[across],
        out[along],
        out[across],
        source.stride(0),
        strides[along],
        strides[across],
        out_pixel[along],
        out_pixel[across],
        first.weight.stride(0),
        second.weight.stride(0),
        first.conv.taps[0][along],
        v_taps[0],
        v_taps[1] - v_taps[0] if len(v_taps) > 1 else 1,
        second.conv.taps[0][along],
        second.conv.taps[0][across],
        **epilogue_arguments(second.bias, residual, destinations, functions, second.weight),
        C_IN=first.conv.in_channels,
        C_MIDDLE=first.conv.out_channels,
        FIRST_TAPS=len(first.conv.taps),
        SECOND_TAPS=len(second.conv.taps),
        FIRST_HAS_BIAS=first.bias is not None,
        FIRST_RELU=first_relu,
        PRECISION=input_precision(source.dtype, allow_tf32),
        BAND=triton.cdiv(out[along], bands),
        BLOCK_L=config.lanes,
        BLOCK_N=config.n,
        BLOCK_C=config.c,
        BLOCK_K=config.k,
        num_warps=config.warps,
        num_stages=config.stages,
    )
