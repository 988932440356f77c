"""The rule that proposes configurations, the most promising first, to :mod:`inception_fast.tuning.measure`.

A tile is worth its size twice: it reads ``m + n`` values for ``m * n`` products, and it fills the GPU only if there are
enough of them. Where there are not, its sums are split. What is better is for :mod:`inception_fast.tuning.cost` to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

from inception_fast.tuning.cost import Limits, launch_time, padding, shared_bytes, tiles
from inception_fast.tuning.problem import ConvConfig, ConvProblem

LIMIT = 6
"""Candidates that are measured per problem."""

ALIKE = 2
"""Of them, those that have one tile."""

ROWS = (128, 64, 32)
"""From 64 rows on a dot is a ``wgmma`` on sm_90; below, an ``mma.sync``."""

COLUMNS = (256, 224, 192, 160, 128, 112, 96, 80, 64, 48, 32, 16)
"""Each the sum of three powers of two at most."""

MOST_PADDING = 1 / 8
"""Share of a convolution's products that may be for output channels that do not exist, where tiles can be so narrow."""

SPLITS = (2, 3, 4, 6, 8, 12, 16)
FEWEST_STEPS = 4
"""Of a part of a sum: with fewer, what begins and ends a program is most of it."""

MOST_PROGRAMS = 2
"""Times the multiprocessors, of a launch whose sums are split."""


def candidates(problem: ConvProblem, limits: Limits) -> list[ConvConfig]:
    """At most LIMIT configurations that fit, best estimate first; never empty, and a function of its arguments."""
    return list(_candidates(problem, limits))


@cache
def _candidates(problem: ConvProblem, limits: Limits) -> tuple[ConvConfig, ...]:
    return tuple(best_of(proposals(problem, limits), (problem,), limits))


def best_of(configs: Iterable[ConvConfig], problems: tuple[ConvProblem, ...], limits: Limits) -> list[ConvConfig]:
    """At most LIMIT, best estimate first, at most ALIKE of one tile."""
    ranked = sorted(configs, key=lambda c: (launch_time(problems, c, limits), -c.m * c.n, -c.k, c.stages, c.splits))
    found: list[ConvConfig] = []
    for config in ranked:
        alike = sum((config.m, config.n) == (c.m, c.n) for c in found)
        if alike < ALIKE:
            found.append(config)
        if len(found) == LIMIT:
            break
    return found


def proposals(problem: ConvProblem, limits: Limits) -> list[ConvConfig]:
    """Every configuration that fits in shared memory and in registers and computes little that is not wanted."""
    fitting = [c for c in _tiles(problem, limits) if has_little_padding(problem, c, MOST_PADDING)]
    # Tiles of 16 columns read everything most often; they are for layers that no other fits.
    fitting = [c for c in fitting if c.n > min(COLUMNS)] or fitting
    return [split for c in fitting for split in with_splits((problem,), c, limits)]


def has_little_padding(problem: ConvProblem, config: ConvConfig, most: float) -> bool:
    """Whether the share of :func:`padding` is ``most`` at most, or as small as tiles of 16 columns make it."""
    narrowest = padding(problem, ConvConfig(config.m, min(COLUMNS), config.k))
    return padding(problem, config) <= max(most, narrowest)


def with_splits(problems: tuple[ConvProblem, ...], config: ConvConfig, limits: Limits) -> Iterator[ConvConfig]:
    """A configuration, and it with the numbers of splits that fill the GPU better."""
    yield config
    steps = -(-max(p.depth for p in problems) // config.k)
    programs = sum(tiles(p, config) for p in problems)
    for splits in SPLITS:
        if splits * FEWEST_STEPS <= steps and programs * splits <= MOST_PROGRAMS * limits.processors:
            yield ConvConfig(config.m, config.n, config.k, config.warps, config.stages, splits)


def interpreted(problem: ConvProblem) -> ConvConfig:
    """The interpreter pays for each program and each step: one tile for all channels, and many pixels or a deep step.

    The batch size has no part in it.
    """
    rows = min(max(_power_of_two(problem.out_pixels), 16), 4096)
    columns = min(_power_of_two(problem.out_channels), 2**19 // rows)
    # No tensor of Triton's may have more than 2**20 elements.
    depth = min(2**19 // rows, 2**20 // columns, 1024, max(16, _power_of_two(problem.depth)))
    return ConvConfig(rows, columns, depth)


def _tiles(problem: ConvProblem, limits: Limits) -> list[ConvConfig]:
    # 128 x 256 float32 sums are half of all registers; operands of 4 bytes, or fragments of them, do not fit beside.
    largest = 128 * 256 if limits.matrix_from_shared and problem.itemsize == 2 else 128 * 128
    widest = max(min(COLUMNS), -(-problem.out_channels // 16) * 16)
    deepest = 128 // problem.itemsize
    depths = [k for k in (deepest, deepest // 2) if k <= max(deepest // 2, _power_of_two(problem.depth))]
    found = []
    for m, n in ((m, n) for m in ROWS for n in COLUMNS):
        # A tile of few rows is for little work.
        if n > widest or m * n > largest or (m < 64 and n > 64):
            continue
        # Where operands are in registers too, those of several products have no room beside many sums.
        if not limits.matrix_from_shared and n.bit_count() > 1 and m * n > 64 * 128:
            continue
        # Eight warps share the accumulators of a large tile: 128 x 128 floats are 64 registers a thread then.
        warps = 8 if m * n >= (128 * 96 if problem.itemsize == 2 else 128 * 64) else 4
        for k in depths:
            steps = -(-problem.depth // k)
            found += [ConvConfig(m, n, k, warps, stages) for stages in (3, 4, 5) if stages == 3 or stages <= steps]
    return [c for c in found if shared_bytes(c, problem.itemsize) <= limits.shared_memory]


def _power_of_two(value: int) -> int:
    return 1 << max(0, value - 1).bit_length()
