"""When convolutions that do not depend on each other share a launch, and the one configuration that it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from inception_fast.plan.plan import Buffer, ConvStep, Plan
from inception_fast.triton_kernels.taps import tap_grid
from inception_fast.tuning.candidates import COLUMNS, best_of, has_little_padding, interpreted, proposals, with_splits
from inception_fast.tuning.cost import Limits, tiles
from inception_fast.tuning.problem import ConvConfig, ConvProblem

WAVES = 3
"""With more tiles than that per multiprocessor, convolutions fill a GPU one after the other."""

NARROWEST_STEP = 16
"""Terms of a step that lies in one tap for every number of channels in the family but three."""

MOST_PADDING = 1 / 4
"""Share of a member's products that may be for output channels that do not exist: its members' widths differ."""


def can_group(step: ConvStep, buffers: Sequence[Buffer]) -> bool:
    """Whether a step can be part of a group: all operands in the arena, no residual, no slopes, taps on a grid."""
    slices = [step.source, *(d.slice for d in step.destinations)]
    in_arena = all(buffers[piece.buffer].home == "arena" for piece in slices)
    sloped = any(d.activation is not None and d.activation.slope is not None for d in step.destinations)
    return in_arena and step.residual is None and not sloped and tap_grid(step.conv) is not None


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
    return len(problems) > 1 and sum(tiles(p, config) for p in problems) <= WAVES * limits.processors


def group_candidates(problems: Sequence[ConvProblem], limits: Limits) -> list[ConvConfig]:
    """At most LIMIT configurations that fit all, best estimate first; never empty, and a function of the arguments."""
    return list(_candidates(tuple(problems), limits))


@cache
def _candidates(problems: tuple[ConvProblem, ...], limits: Limits) -> tuple[ConvConfig, ...]:
    return tuple(best_of(proposals_for_group(problems, limits), problems, limits))


def proposals_for_group(problems: Sequence[ConvProblem], limits: Limits) -> list[ConvConfig]:
    """Every configuration that fits all of them."""
    found = [replace(c, splits=1) for p in problems for c in proposals(p, limits)]
    # Of a smaller tile with narrow steps a thread would load less than 16 bytes.
    narrow = [replace(c, k=NARROWEST_STEP) for c in found if min(c.m, c.n) >= 64]
    # Tiles of 16 columns fit all.
    slim = [replace(c, n=min(COLUMNS), warps=4) for c in found]

    def fitting(configs: list[ConvConfig]) -> list[ConvConfig]:
        unique = dict.fromkeys(configs)
        return [c for c in unique if all(has_little_padding(p, c, MOST_PADDING) for p in problems)]

    wide = [c for c in fitting([*found, *narrow]) if c.n > min(COLUMNS)]
    return [split for c in wide or fitting(slim) for split in with_splits(tuple(problems), c, limits)]


def interpreted_group(problems: Sequence[ConvProblem]) -> ConvConfig:
    """For the interpreter: the largest tile of any of them, as deep as Triton's bound on tensors allows."""
    own = [interpreted(p) for p in problems]
    m, n, k = (max(getattr(c, axis) for c in own) for axis in ("m", "n", "k"))
    return ConvConfig(m, min(n, 2**19 // m), min(k, 2**19 // m, 2**20 // n))
