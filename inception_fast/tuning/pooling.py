"""Which convolutions share a launch with a max pool beside them, by arithmetic that no GPU has confirmed.

Costs are in bytes of memory traffic for each pixel that is convolved or pooled. Both launches are for batches that fill
the GPU: they have few, long programs.
"""

from __future__ import annotations

from inception_fast.plan.memory import lifetimes
from inception_fast.plan.plan import ConvStep, Plan, PoolStep, Slice, destinations_of, sources_of
from inception_fast.tuning.cost import Limits, tiles
from inception_fast.tuning.problem import ConvConfig, ConvProblem

BAND = 8
"""Pooled rows of a program that convolves first; where windows overlap, each band computes one row again."""

WIDEST = 128
"""Output channels up to which a convolution of maxima computes each of them once."""

FLOPS_PER_BYTE = {"fp16": 184, "bf16": 184, "tf32": 92, "fp32": 16}
"""Matrix rate over memory bandwidth; an H200's 790 TFLOP/s and 4.3 TB/s, half and a twelfth of that rate."""

CACHE_SPEED = 1.3
"""Bandwidth of the L2 cache over that of memory, assumed."""


def conv_pool_pairs(plan: Plan) -> list[tuple[int, int]]:
    """Convolution and max pool, by index, where the pool is all that reads the convolution.

    A function between them need not be monotone, as what comes after the maximum in their launch must be.
    """
    return [
        (i, j)
        for i, j in _chains(plan)
        if isinstance(conv := plan.steps[i], ConvStep)
        and conv.residual is None
        and conv.destinations[0].activation is None
        and isinstance(pool := plan.steps[j], PoolStep)
        and (pool.mode, pool.adaptive) == ("max", False)
        and pool.kernel[0] - pool.stride[0] in (0, 1)
    ]


def pool_conv_pairs(plan: Plan) -> list[tuple[int, int]]:
    """Max pool and 1x1 convolution, by index, where the convolution is all that reads the pool."""
    return [
        (i, j)
        for i, j in _chains(plan)
        if isinstance(pool := plan.steps[i], PoolStep)
        and (pool.mode, pool.adaptive) == ("max", False)
        and not pool.destination.relu
        and isinstance(conv := plan.steps[j], ConvStep)
        and conv.residual is None
        and (conv.conv.taps, conv.conv.stride) == (((0, 0),), (1, 1))
    ]


def moved_buffers(plan: Plan, first: int, second: int) -> list[int]:
    """Destinations of ``second`` whose place in the arena may still be in use when ``first`` runs."""
    stage_of = {i: stage for stage, members in enumerate(plan.stages) for i in members}
    lives = lifetimes(plan.steps, plan.stages)
    written = dict.fromkeys(d.slice.buffer for d in destinations_of(plan.steps[second]))
    return [b for b in written if plan.buffers[b].home == "arena" and lives[b].first > stage_of[first]]


def conv_pool_tile(problem: ConvProblem) -> ConvConfig:
    """Three tiles of sums are in registers: of a column, of a row and of a window."""
    return ConvConfig(64, 64, 64 // problem.itemsize, warps=8, stages=3)


def pool_conv_tile(problem: ConvProblem) -> ConvConfig:
    """As wide as the output. What is loaded passes through registers, so a deeper pipeline gains little."""
    columns = min(max(32, 1 << (problem.out_channels - 1).bit_length()), WIDEST)
    return ConvConfig(64, columns, 64 // problem.itemsize, warps=4, stages=2)


def conv_pool_pays(problem: ConvProblem, pool: PoolStep) -> bool:
    """Whether the trip of a convolution through memory costs more than computing parts of it again for its pool."""
    rows = BAND * pool.stride[0] + pool.kernel[0] - pool.stride[0]
    again = pool.kernel[1] / pool.stride[1] * rows / (BAND * pool.stride[0]) - 1
    loads = again * problem.depth * problem.itemsize / CACHE_SPEED
    # Such tiles reach half of the matrix rate at best.
    products = again * 2 * problem.depth * problem.out_channels / (FLOPS_PER_BYTE[problem.precision] / 2)
    return 2 * problem.out_channels * problem.itemsize > max(loads, products)


def conv_pool_config(
    problem: ConvProblem, pool: PoolStep, pooled: tuple[int, int], limits: Limits
) -> ConvConfig | None:
    """The configuration of a convolution with a max pool behind it; None where two launches are better by rule.

    Args:
        problem: the convolution.
        pooled: height and width behind the pool.
    """
    config = conv_pool_tile(problem)
    lanes = problem.images * pooled[1]
    programs = -(-lanes // config.m) * -(-problem.out_channels // config.n) * -(-pooled[0] // BAND)
    through_memory = problem.pixels * problem.out_channels * problem.itemsize > limits.cache
    return config if through_memory and programs >= limits.processors and conv_pool_pays(problem, pool) else None


def pool_conv_config(problem: ConvProblem, limits: Limits) -> ConvConfig | None:
    """The configuration of a convolution with a max pool before it; None where two launches are better by rule.

    Its loads are those of the pool, and the trip of the result is saved, as long as one tile has all output channels.
    """
    config = pool_conv_tile(problem)
    fills = tiles(problem, config) >= limits.processors
    return config if problem.out_channels <= config.n and fills else None


def _chains(plan: Plan) -> list[tuple[int, int]]:
    """Steps of which the second is all that reads the first, and reads the whole of it; nobody else sees it."""
    readers: dict[int, list[int]] = {}
    for i, step in enumerate(plan.steps):
        for piece in sources_of(step):
            readers.setdefault(piece.buffer, []).append(i)
    found = []
    for i, step in enumerate(plan.steps):
        (piece, *rest) = (d.slice for d in destinations_of(step))
        reader = readers.get(piece.buffer, [])
        if not rest and len(reader) == 1 and plan.buffers[piece.buffer].home == "arena":
            whole = Slice(piece.buffer, 0, plan.buffers[piece.buffer].channels)
            if piece == plan.steps[reader[0]].source == whole:
                found.append((i, reader[0]))
    return found
