"""When convolutions that do not depend on each other share a launch, and the one configuration that it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from inception_fast.plan.plan import Buffer, ConvStep, Plan
from inception_fast.triton_kernels.taps import tap_grid
from inception_fast.tuning.candidates import (
    LIMIT,
    Limits,
    interpreted,
    programs,
    proposals,
    tile_time,
)
from inception_fast.tuning.problem import ConvConfig, ConvProblem

WAVES = 3
"""With more tiles than that per multiprocessor, convolutions fill a GPU one after the other."""

NARROWEST_STEP = 16
"""Terms of a step that lies in one tap for every number of channels in the family but three."""

DIVISION = 16 * 300
"""Relative time of a step's tap and channel, column by column, where a step may be in several taps: in a group the
number of channels is known only when it runs.
"""


def can_group(step: ConvStep, buffers: Sequence[Buffer]) -> bool:
    """Whether a step can be part of a group: all operands in the arena, no residual, taps on a grid."""
    slices = [step.source, *(d.slice for d in step.destinations)]
    in_arena = all(buffers[piece.buffer].home == "arena" for piece in slices)
    return in_arena and step.residual is None and tap_grid(step.conv) is not None


def groups_of(plan: Plan) -> list[tuple[int, ...]]:
    """The convolutions of each stage that may share a launch, by index; two or more each."""
    found = []
    for stage in plan.stages:
        members = tuple(i for i in stage if isinstance(s := plan.steps[i], ConvStep) and can_group(s, plan.buffers))
        if len(members) > 1:
            found.append(members)
    return found


def group_key(problems: Sequence[ConvProblem]) -> str:
    """Names a group in a table."""
    return " + ".join(sorted(p.key for p in problems))


def is_grouped(problems: Sequence[ConvProblem], limits: Limits) -> bool:
    """Whether convolutions share a launch by rule: there are several, and together they hardly fill the GPU.

    With more tiles each is better off with the configuration of its own shape; what is left to gain is a launch.
    """
    config = group_candidates(problems, limits)[0]
    return len(problems) > 1 and sum(programs(p, config) for p in problems) <= WAVES * limits.processors


def group_candidates(problems: Sequence[ConvProblem], limits: Limits) -> list[ConvConfig]:
    """At most LIMIT configurations that fit all, best estimate first; never empty, and a function of the arguments."""
    ranked = sorted(
        proposals_for_group(problems, limits),
        key=lambda c: (group_estimate(problems, c, limits), -c.m * c.n, -c.k, c.stages),
    )
    return ranked[:LIMIT]


def proposals_for_group(problems: Sequence[ConvProblem], limits: Limits) -> list[ConvConfig]:
    """Every configuration that fits all of them."""
    found = [c for p in problems for c in proposals(p, limits)]
    # Of a smaller tile with narrow steps a thread would load less than 16 bytes.
    narrow = [replace(c, k=NARROWEST_STEP) for c in found if min(c.m, c.n) >= 64]
    return list(dict.fromkeys([*found, *narrow]))


def group_estimate(problems: Sequence[ConvProblem], config: ConvConfig, limits: Limits) -> float:
    """Relative time of a launch: the longest tile, or a multiprocessor's share of the work where that is longer."""
    one_tap = all(p.in_channels % config.k == 0 for p in problems)
    times = [tile_time(p, config) + (0 if one_tap else DIVISION * -(-p.depth // config.k)) for p in problems]
    work = sum(programs(p, config) * time for p, time in zip(problems, times, strict=True))
    return max(*times, work / limits.processors)


def interpreted_group(problems: Sequence[ConvProblem]) -> ConvConfig:
    """For the interpreter: the largest tile of any of them, as deep as Triton's bound on tensors allows."""
    own = [interpreted(p) for p in problems]
    m, n, k = (max(getattr(c, axis) for c in own) for axis in ("m", "n", "k"))
    return ConvConfig(m, min(n, 2**19 // m), min(k, 2**19 // m, 2**20 // n))
