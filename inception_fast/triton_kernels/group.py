"""Several convolutions that do not depend on each other in one launch, so that a small batch fills the GPU.

The tiles of all of them are numbered through. A program finds the convolution that its tile belongs to, and all that it
must know of it, in a table in device memory. The table knows nothing of the batch: offsets are per image, as in a Plan,
and a program counts the tiles before its own. So it is written once, and a recorded CUDA graph needs no copy of it.

All operands are slices of one arena, whose address is the launch's only moving part. The product and its end are those
of the single convolution; what is known there when it is compiled (channels, taps, destinations) is read here, and only
what decides how memory is accessed is compiled in.

Where there are few tiles, sums are split (:mod:`.split`), all of a launch into parts of one length at most.
"""

# Triton unrolls the loops that build tuples; to mypy they grow without bound.
# mypy: disable-error-code="assignment, misc"

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import gcd
from typing import NamedTuple

import torch
import triton
import triton.language as tl

from inception_fast.plan.plan import Buffer, Convolution, ConvStep
from inception_fast.triton_kernels.conv import (
    PackedConv,
    input_precision,
    pack_conv,
    product,
    tile_arguments,
    weight_rows,
)
from inception_fast.triton_kernels.epilogue import finish
from inception_fast.triton_kernels.functions import Function, numbered
from inception_fast.triton_kernels.numerics import device_function, loop_end, pixel_place
from inception_fast.triton_kernels.split import (
    Workspace,
    is_last,
    split_arguments,
    sum_of_parts,
)
from inception_fast.triton_kernels.taps import leaves_image
from inception_fast.tuning.problem import ConvConfig
from inception_fast.tuning.workspace import programs_of

UNIT = 16
"""Where channels and offsets are multiples of it, accesses are 16 bytes wide in every dtype. It divides K_ALIGNMENT."""


class Problem(NamedTuple):
    """A row of the table, without its destinations; offsets in elements per image."""

    out_pixels: int
    out_channels: int
    depth: int
    in_channels: int
    source: int
    source_start: int
    source_channels: int
    height: int
    width: int
    out_height: int
    out_width: int
    stride_y: int
    stride_x: int
    tap_columns: int
    origin_y: int
    origin_x: int
    dilation_y: int
    dilation_x: int
    weight: int
    weight_row: int
    bias: int


class Target(NamedTuple):
    """A destination in a row of the table: its first output channel, the slice, and the number of its function."""

    first: int
    buffer: int
    start: int
    channels: int
    function: int


FIELDS = tl.constexpr(len(Problem._fields))
TARGET_FIELDS = tl.constexpr(len(Target._fields))


@device_function
def read_fields(row, COUNT: tl.constexpr):
    """The first entries of a row, as scalars."""
    fields = ()
    for i in tl.static_range(COUNT):
        fields = fields + (tl.load(row + i),)  # noqa: RUF005
    return fields


@device_function
def in_units(value, UNIT: tl.constexpr):
    """``value``, a multiple of UNIT, in a form that shows it: Triton 3.6 loses ``tl.multiple_of`` of a loaded value."""
    return value // UNIT * UNIT


@triton.jit
def group_kernel(
    arena,
    weights,
    biases,
    table,
    images,
    partials,
    counters,
    segment,
    PROBLEMS: tl.constexpr,
    SEGMENTS: tl.constexpr,
    ROW: tl.constexpr,
    UNIT: tl.constexpr,
    FUNCTIONS: tl.constexpr,
    ONE_TAP: tl.constexpr,
    BORDER: tl.constexpr,
    RAGGED: tl.constexpr,
    PRECISION: tl.constexpr,
    SPLIT: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    WIDTHS: tl.constexpr,
    PARTS: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    program = tl.program_id(0)
    problem, first_program, programs = 0, 0, 0
    for p in tl.static_range(PROBLEMS):
        reached = program >= programs
        problem = tl.where(reached, p, problem)
        first_program = tl.where(reached, programs, first_program)
        out_pixels, out_channels, depth = read_fields(table + p * ROW, 3)
        tiles = tl.cdiv(images * out_pixels, BLOCK_M) * tl.cdiv(out_channels, BLOCK_N)
        programs += tiles * tl.cdiv(depth, segment) if SPLIT else tiles
    row = table + problem * ROW
    (
        out_pixels,
        out_channels,
        depth,
        in_channels,
        source,
        source_start,
        source_channels,
        height,
        width,
        out_height,
        out_width,
        stride_y,
        stride_x,
        tap_columns,
        origin_y,
        origin_x,
        dilation_y,
        dilation_x,
        weight,
        weight_row,
        bias,
    ) = read_fields(row, FIELDS)
    source_channels = in_units(source_channels, UNIT)
    source_pointer = arena + (in_units(source, UNIT).to(tl.int64) * images + in_units(source_start, UNIT))
    weight_pointer = weights + in_units(weight, UNIT)
    starts, pointers, strides, chosen = (), (), (), ()
    for s in tl.static_range(SEGMENTS):
        first, buffer, start, channels, function = read_fields(row + FIELDS + s * TARGET_FIELDS, TARGET_FIELDS)
        offset = in_units(buffer, UNIT).to(tl.int64) * images + in_units(start, UNIT)
        starts = starts + (in_units(first, UNIT),)  # noqa: RUF005
        pointers = pointers + (arena + offset,)  # noqa: RUF005
        strides = strides + (in_units(channels, UNIT),)  # noqa: RUF005
        chosen = chosen + (function,)  # noqa: RUF005
    starts = starts + (out_channels,)  # noqa: RUF005

    pixels = images * out_pixels
    tiles_n = tl.cdiv(out_channels, BLOCK_N)
    depth = in_units(depth, UNIT)
    tile, split, splits, tiles = program - first_program, 0, 1, 0
    begin, end = 0, loop_end(depth)
    if SPLIT:
        tiles = tl.cdiv(pixels, BLOCK_M) * tiles_n
        split, splits = tile // tiles, tl.cdiv(depth, segment)
        tile = tile % tiles
        begin, end = loop_end(split * segment), loop_end(tl.minimum(split * segment + segment, depth))
    m = (tile // tiles_n) * BLOCK_M + tl.arange(0, BLOCK_M)
    first_n = (tile % tiles_n) * BLOCK_N
    image, out_y, out_x = pixel_place(tl.minimum(m, pixels - 1), out_height, out_width)
    sums = product(
        source_pointer + image.to(tl.int64)[:, None] * (height * width * source_channels),
        weight_rows(weight_pointer, in_units(weight_row, UNIT), first_n, out_channels - 1, WIDTHS, PARTS),
        table,
        (out_y * stride_y)[:, None],
        (out_x * stride_x)[:, None],
        height,
        width,
        width * source_channels,
        source_channels,
        1,
        tap_columns,
        origin_y,
        origin_x,
        dilation_y,
        dilation_x,
        in_units(in_channels, UNIT),
        depth,
        begin,
        end,
        GRID=True,
        ONE_TAP=ONE_TAP,
        BORDER=BORDER,
        RAGGED=RAGGED,
        PRECISION=PRECISION,
        BLOCK_M=BLOCK_M,
        BLOCK_K=BLOCK_K,
        WIDTHS=WIDTHS,
        PARTS=PARTS,
    )
    complete = True
    if SPLIT:
        complete = is_last(
            sums, partials, counters, first_program + tile, split * tiles, splits, BLOCK_M, BLOCK_N, WIDTHS, PARTS
        )
    if complete:
        first = 0
        for p in tl.static_range(PARTS):
            acc = sums[p]
            if SPLIT:
                acc = sum_of_parts(
                    partials, first_program + tile, tiles, splits, first, BLOCK_M, BLOCK_N, WIDTHS[p], AT_ONCE
                )
            finish(
                acc,
                m.to(tl.int64)[:, None],
                (m < pixels)[:, None],
                first_n + first,
                (biases + in_units(bias, UNIT), biases, 0, pointers, strides, ()),
                out_channels,
                starts,
                chosen,
                True,
                False,
                FUNCTIONS,
                WIDTHS[p],
            )
            first += WIDTHS[p]


@dataclass(frozen=True)
class PackedGroup:
    """Convolutions with their constants on a device, for one launch together or one each.

    Attributes:
        convs: in the order of the steps; their weights and biases are views of ``weights`` and ``biases``.
        table: int32 ``[problems, fields]``, the longest sums first.
        problems: the rows of ``table``.
        unit: largest power of two up to UNIT that divides all channels and offsets.
        border: whether some tap leaves its image.
        functions: those of all destinations, as they are compiled.
    """

    convs: tuple[PackedConv, ...]
    weights: torch.Tensor
    biases: torch.Tensor
    table: torch.Tensor
    problems: tuple[Problem, ...]
    unit: int
    border: bool
    functions: tuple[str | float, ...]


Pair = tuple[torch.Tensor, torch.Tensor]


def _side_by_side(alone: Sequence[PackedConv]) -> Pair:
    """Weights and padded biases of several convolutions, each in one tensor."""
    return torch.cat([p.weight.flatten() for p in alone]), torch.cat([_padded_bias(p) for p in alone])


def pack_group(
    steps: Sequence[ConvStep],
    buffers: Sequence[Buffer],
    constants: Mapping[str, torch.Tensor],
    device: torch.device,
    once: Callable[[Callable[[], Pair]], Pair] = lambda make: make(),
) -> PackedGroup:
    """Packs steps of one stage, each of which :func:`inception_fast.tuning.group.can_group` allows.

    Args:
        once: gives what its argument returns, or what it returned for the same steps and images of another size.
    """
    alone = [pack_conv(step.conv, constants, device) for step in steps]
    weights, biases = once(lambda: _side_by_side(alone))
    functions, chosen = numbered([Function.of(d) for step in steps for d in step.destinations])
    convs, problems, targets = [], [], []
    weight = bias = 0
    for step, packed in zip(steps, alone, strict=True):
        out_channels = packed.conv.out_channels
        convs.append(
            replace(
                packed,
                weight=weights[weight : weight + packed.weight.numel()].view(packed.weight.shape),
                bias=None if packed.bias is None else biases[bias : bias + out_channels],
            )
        )
        problems.append(_problem(step, convs[-1], buffers, weight, bias))
        mine, chosen = chosen[: len(step.destinations)], chosen[len(step.destinations) :]
        targets.append(_targets(step, buffers, mine))
        weight += packed.weight.numel()
        bias += triton.cdiv(out_channels, UNIT) * UNIT
    # A long tile that begins last would end last, alone.
    order = sorted(range(len(steps)), key=lambda i: -problems[i].depth)
    rows = _rows([problems[i] for i in order], [targets[i] for i in order])
    aligned = (field for p, ts in zip(problems, targets, strict=True) for field in _aligned_fields(p, ts))
    return PackedGroup(
        tuple(convs),
        weights,
        biases,
        torch.tensor(rows, dtype=torch.int32, device=device),
        tuple(problems[i] for i in order),
        gcd(UNIT, *aligned),
        any(_leaves(p.conv, problem) for p, problem in zip(alone, problems, strict=True)),
        functions,
    )


def launch_group(
    group: PackedGroup,
    config: ConvConfig,
    arena: torch.Tensor,
    images: int,
    allow_tf32: bool = False,
    workspace: Workspace | None = None,
) -> None:
    """All convolutions of a group, from and to an arena ``[images * plan.arena]``; ``workspace`` as for one."""
    programs = programs_of([(images * p.out_pixels, p.out_channels, p.depth) for p in group.problems], config)
    fields = group.table.shape[1]
    group_kernel[(programs,)](
        arena,
        group.weights,
        group.biases,
        group.table,
        images,
        **split_arguments(config, max(p.depth for p in group.problems), programs, workspace, group.biases),
        PROBLEMS=len(group.problems),
        SEGMENTS=(fields - len(Problem._fields)) // len(Target._fields),
        ROW=fields,
        UNIT=group.unit,
        FUNCTIONS=group.functions,
        ONE_TAP=all(p.in_channels % config.k == 0 for p in group.problems),
        BORDER=group.border,
        RAGGED=any(p.depth % config.k != 0 for p in group.problems),
        PRECISION=input_precision(arena.dtype, allow_tf32),
        **tile_arguments(config),
        num_warps=config.warps,
        num_stages=config.stages,
    )


def _problem(step: ConvStep, packed: PackedConv, buffers: Sequence[Buffer], weight: int, bias: int) -> Problem:
    conv, source, out = step.conv, buffers[step.source.buffer], buffers[step.destinations[0].slice.buffer]
    assert packed.grid is not None
    return Problem(
        out.height * out.width,
        conv.out_channels,
        len(conv.taps) * conv.in_channels,
        conv.in_channels,
        source.offset,
        step.source.start,
        source.channels,
        source.height,
        source.width,
        out.height,
        out.width,
        *conv.stride,
        *packed.grid,
        weight,
        packed.weight.stride(0),
        bias,
    )


def _targets(step: ConvStep, buffers: Sequence[Buffer], functions: Sequence[int]) -> list[Target]:
    found, first = [], 0
    for d, function in zip(step.destinations, functions, strict=True):
        buffer = buffers[d.slice.buffer]
        found.append(Target(first, buffer.offset, d.slice.start, buffer.channels, function))
        first += d.slice.channels
    return found


def _rows(problems: Sequence[Problem], targets: Sequence[list[Target]]) -> list[list[int]]:
    """Each problem and its targets; those that are missing begin where the channels end."""
    longest = max(map(len, targets))
    rows = []
    for problem, mine in zip(problems, targets, strict=True):
        missing = [mine[-1]._replace(first=problem.out_channels)] * (longest - len(mine))
        rows.append([*problem, *(field for target in [*mine, *missing] for field in target)])
    return rows


def _aligned_fields(problem: Problem, targets: Sequence[Target]) -> list[int]:
    """What decides how wide the accesses can be."""
    fields = [problem.in_channels, problem.out_channels, problem.source, problem.source_start, problem.source_channels]
    return fields + [field for t in targets for field in (t.first, t.buffer, t.start, t.channels)]


def _padded_bias(packed: PackedConv) -> torch.Tensor:
    channels = packed.conv.out_channels
    padded = packed.weight.new_zeros(triton.cdiv(channels, UNIT) * UNIT, dtype=torch.float32)
    if packed.bias is not None:
        padded[:channels] = packed.bias
    return padded


def _leaves(conv: Convolution, problem: Problem) -> bool:
    return leaves_image(conv, (problem.height, problem.width), (problem.out_height, problem.out_width))
