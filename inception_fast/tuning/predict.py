"""The time of a Plan's convolutions by the rule's cost, without a GPU; see :mod:`inception_fast.tuning.cost`."""

from __future__ import annotations

from inception_fast.plan.plan import ConvStep, Plan
from inception_fast.tuning.candidates import best_of, proposals
from inception_fast.tuning.cost import CYCLES_PER_SECOND, HOP, Limits, launch_time
from inception_fast.tuning.group import groups_of, is_grouped, proposals_for_group
from inception_fast.tuning.problem import problems_of_step


def predicted(plan: Plan, precision: str, images: int, limits: Limits, split: bool = True) -> tuple[int, float]:
    """Launches of a Plan's convolutions, and the seconds that they take one after the other.

    Args:
        split: whether sums may be split.
    """
    problems = {i: problems_of_step(plan, s, precision, images) for i, s in enumerate(plan.steps)}
    alone = {i: found for i, found in problems.items() if isinstance(plan.steps[i], ConvStep)}
    launches = []
    for members in groups_of(plan):
        together = tuple(p for i in members for p in problems[i])
        if is_grouped(together, limits):
            launches.append(together)
            alone = {i: found for i, found in alone.items() if i not in members}
    cycles = 0.0
    for launch in [*launches, *alone.values()]:
        configs = proposals(*launch, limits) if len(launch) == 1 else proposals_for_group(launch, limits)
        best = best_of([c for c in configs if split or c.splits == 1], launch, limits)[0]
        cycles += launch_time(launch, best, limits)
    count = len(launches) + len(alone)
    return count, cycles / CYCLES_PER_SECOND + count * HOP
