"""The rule that proposes configurations, the most promising first, to :mod:`inception_fast.tuning.measure`.

A tile is worth its size twice: it reads ``m + n`` values for ``m * n`` products, and it fills the GPU only if there are
enough of them. The estimate is the time of the last wave of programs to end: waves x (matrix time or load time of one
tile, whichever is longer, plus what a program costs to start). Its constants order the candidates and promise nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from inception_fast.tuning.problem import ConvConfig, ConvProblem

LIMIT = 6
"""Candidates that are measured per problem."""

TILES = ((128, 256), (128, 128), (128, 64), (64, 256), (64, 128), (64, 64), (128, 32), (64, 32), (32, 64), (32, 32))
"""(m, n). From 64 rows on a dot is a ``wgmma`` on sm_90; below, an ``mma.sync``."""


@dataclass(frozen=True)
class Limits:
    """A GPU, as far as the rule knows it.

    Attributes:
        processors: streaming multiprocessors.
        shared_memory: bytes that one program can have.
        cache: bytes of L2.
        matrix_from_shared: whether products read their operands from shared memory (sm_90 and later) and leave the
            registers to the accumulators.
    """

    processors: int
    shared_memory: int
    cache: int
    matrix_from_shared: bool


H200 = Limits(processors=132, shared_memory=232448, cache=50 * 2**20, matrix_from_shared=True)


def candidates(problem: ConvProblem, limits: Limits) -> list[ConvConfig]:
    """At most LIMIT configurations that fit, best estimate first; never empty, and a function of its arguments."""
    ranked = sorted(
        proposals(problem, limits), key=lambda c: (estimate(problem, c, limits), -c.m * c.n, -c.k, c.stages)
    )
    return ranked[:LIMIT]


def proposals(problem: ConvProblem, limits: Limits) -> list[ConvConfig]:
    """Every configuration that fits in shared memory and in registers."""
    # 128 x 256 float32 sums are half of all registers; operands of 4 bytes, or fragments of them, do not fit beside.
    largest = 128 * 256 if limits.matrix_from_shared and problem.itemsize == 2 else 128 * 128
    fitting = [c for c in _all(problem) if shared_bytes(c, problem.itemsize) <= limits.shared_memory]
    return [c for c in fitting if c.m * c.n <= largest]


def interpreted(problem: ConvProblem) -> ConvConfig:
    """The interpreter pays for each program and each step: one tile for all channels, and many pixels or a deep step.

    The batch size has no part in it.
    """
    rows = min(max(_power_of_two(problem.out_pixels), 16), 4096)
    columns = min(_power_of_two(problem.out_channels), 2**19 // rows)
    # No tensor of Triton's may have more than 2**20 elements.
    depth = min(2**19 // rows, 2**20 // columns, 1024, max(16, _power_of_two(problem.depth)))
    return ConvConfig(rows, columns, depth)


def shared_bytes(config: ConvConfig, itemsize: int) -> int:
    """Bytes of the pipeline's ring of tiles."""
    return config.stages * (config.m + config.n) * config.k * itemsize


def estimate(problem: ConvProblem, config: ConvConfig, limits: Limits) -> float:
    """Relative time of a launch."""
    at_once = resident(config, problem.itemsize, limits)
    waves = -(-programs(problem, config) // (limits.processors * at_once))
    return waves * at_once * tile_time(problem, config)


def programs(problem: ConvProblem, config: ConvConfig) -> int:
    """Tiles of a convolution."""
    return -(-problem.pixels // config.m) * -(-problem.out_channels // config.n)


def resident(config: ConvConfig, itemsize: int, limits: Limits) -> int:
    """Programs that share a multiprocessor."""
    return max(1, min(limits.shared_memory // shared_bytes(config, itemsize), 8 // config.warps))


def tile_time(problem: ConvProblem, config: ConvConfig) -> float:
    """Relative time of a tile that has a multiprocessor to itself; a unit is about a sixteenth of a cycle."""
    steps = -(-problem.depth // config.k)
    # A multiprocessor multiplies 128 x 128 x 16 values of 16 bits in the time in which it loads about 128 x 16 of them.
    matrix = config.m * config.n * config.k / 128 * (problem.itemsize / 2)
    load = (config.m + config.n) * config.k * problem.itemsize / 4
    return steps * (max(matrix, load) + 256 * 8) + 16 * config.m * config.n


def _all(problem: ConvProblem) -> list[ConvConfig]:
    widest = max(32, _power_of_two(problem.out_channels))
    deepest = 128 // problem.itemsize
    depths = [k for k in (deepest, deepest // 2) if k <= max(deepest // 2, _power_of_two(problem.depth))]
    found = []
    for m, n in TILES:
        if n > widest:
            continue
        # Eight warps share the accumulators of a large tile: 128 x 128 floats are 64 registers a thread then.
        warps = 8 if m * n >= (128 * 128 if problem.itemsize == 2 else 128 * 64) else 4
        for k in depths:
            steps = -(-problem.depth // k)
            found += [ConvConfig(m, n, k, warps, stages) for stages in (3, 4, 5) if stages == 3 or stages <= steps]
    return found


def _power_of_two(value: int) -> int:
    return 1 << max(0, value - 1).bit_length()
