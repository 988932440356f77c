"""The time of a launch, as the rule sees it: cycles of a multiprocessor.

A program is ``busy`` where it holds a unit that others want too (matrix unit, loads, stores), and ``waiting`` where it
holds none (latency at its start and in each step). Programs that share a multiprocessor wait at the same time, and are
busy one after the other. The constants are those that are published or were derived from machine code; no GPU has
confirmed them. They order the candidates, and promise nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inception_fast.tuning.problem import ConvConfig, ConvProblem

LOAD_RATE = 48
"""Bytes a cycle that a multiprocessor gets from L2."""

LATENCY = 700
"""Cycles until a load from L2 arrives, and those of a store, a barrier and an atomic that others see."""

START = 1800
"""Cycles of a program before its first product and after its last: 1.2 us are about 2,100, of which some are stores."""

STEP = 100
"""Cycles of a step's barriers and first instructions, when its data is there."""

DIVISION = 300
"""Cycles of a step's tap and channel, column by column, where a step may be in several taps and the number of channels
is known only when the kernel runs, as in a group.
"""

CYCLES_PER_SECOND = 1.755e9
"""An H200's clock under load."""

HOP = 1.3e-6
"""Seconds between two launches of a CUDA graph that depend on each other."""

PRODUCT_TIME = {"fp16": 1, "bf16": 1, "tf32": 2, "fp32": 16}
"""Time of a product, in that of one of 16 bits."""

REGISTERS = 65536
"""32 bits each, of a multiprocessor."""


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
A100 = Limits(processors=108, shared_memory=166912, cache=40 * 2**20, matrix_from_shared=False)


@dataclass(frozen=True)
class Work:
    """The programs of a convolution, in cycles of each."""

    programs: int
    busy: float
    waiting: float


def launch_time(problems: Sequence[ConvProblem], config: ConvConfig, limits: Limits) -> float:
    """Cycles of a launch of one convolution, or of several together."""
    grouped = len(problems) > 1
    depth = max(p.depth for p in problems)
    works = [work_of(p, config, config.segment(depth), grouped, limits) for p in problems]
    at_once = resident(config, problems[0].itemsize, limits)
    longest = max(w.busy + w.waiting for w in works)
    if grouped:
        # Programs of many lengths fill the last round.
        shares = [w.programs * max(w.busy, (w.busy + w.waiting) / at_once) for w in works]
        time = max(longest, sum(shares) / limits.processors)
    else:
        (work,) = works
        rounds, rest = divmod(-(-work.programs // limits.processors), at_once)
        time = rounds * max(at_once * work.busy, longest) + (max(rest * work.busy, longest) if rest else 0)
    return time + (addition_time(config) if config.splits > 1 else 0)


def work_of(problem: ConvProblem, config: ConvConfig, segment: int, grouped: bool, limits: Limits) -> Work:
    """What the programs of a convolution do, each with ``segment`` terms of its sums at most."""
    steps = -(-min(segment, problem.depth) // config.k)
    load = (config.m + config.n) * config.k * problem.itemsize / LOAD_RATE
    step = max(load, matrix_time(config, limits) * PRODUCT_TIME[problem.precision])
    wait = STEP + max(0.0, LATENCY / (config.stages - 1) - step)
    if grouped and problem.in_channels % config.k != 0:
        wait += DIVISION
    stored = config.m * config.n * (4 if config.splits > 1 else problem.itemsize)
    programs = tiles(problem, config) * -(-problem.depth // segment)
    return Work(programs, steps * step + stored / LOAD_RATE, steps * wait + START)


def matrix_time(config: ConvConfig, limits: Limits) -> float:
    """Cycles of a step's products of 16 bits."""
    if not limits.matrix_from_shared:
        return config.m * config.n * config.k / 1024
    # Of 64 rows and 16 terms: half a cycle a column, or 128 bytes of operands a cycle where that takes longer.
    return max(config.m, 64) / 64 * config.k / 16 * sum(max(width / 2, 16 + width / 4) for width in config.widths)


def addition_time(config: ConvConfig) -> float:
    """Cycles of adding the parts of a tile, by its last program."""
    values = config.m * config.n * 4 / LOAD_RATE
    return LATENCY * (1 + -(-config.splits // 4)) + config.splits * values


def tiles(problem: ConvProblem, config: ConvConfig) -> int:
    """Of a convolution's result."""
    return -(-problem.pixels // config.m) * -(-problem.out_channels // config.n)


def resident(config: ConvConfig, itemsize: int, limits: Limits) -> int:
    """Programs that share a multiprocessor."""
    registers = (config.m * config.n // (32 * config.warps) + 64) * 32 * config.warps
    return max(1, min(limits.shared_memory // shared_bytes(config, itemsize), REGISTERS // registers))


def shared_bytes(config: ConvConfig, itemsize: int) -> int:
    """Bytes of the pipeline's ring of tiles."""
    return config.stages * (config.m + config.n) * config.k * itemsize


def padding(problem: ConvProblem, config: ConvConfig) -> float:
    """Share of the products whose output channel does not exist."""
    return 1 - problem.out_channels / (-(-problem.out_channels // config.n) * config.n)
