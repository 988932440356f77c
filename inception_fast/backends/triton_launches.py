"""Which launches a Plan takes at a batch size: a step each, or several convolutions of a stage together."""

from __future__ import annotations

from dataclasses import dataclass

from inception_fast.plan.plan import Plan
from inception_fast.tuning.choice import ConfigChoice
from inception_fast.tuning.group import groups_of
from inception_fast.tuning.problem import ConvConfig, problems_of_step


@dataclass(frozen=True)
class StepLaunch:
    """One step, by its index in the Plan.

    Attributes:
        configs: of its convolutions, in order.
    """

    step: int
    configs: tuple[ConvConfig, ...] = ()

    @property
    def steps(self) -> tuple[int, ...]:
        return (self.step,)


@dataclass(frozen=True)
class GroupLaunch:
    """Convolutions of one stage, by their indices."""

    steps: tuple[int, ...]
    config: ConvConfig


Launch = StepLaunch | GroupLaunch


def plan_launches(plan: Plan, precision: str, images: int, choose: ConfigChoice) -> tuple[Launch, ...]:
    """The launches of one forward pass, in order; every step is in one of them."""
    problems = [problems_of_step(plan, step, precision, images) for step in plan.steps]
    launches: dict[int, Launch] = {i: StepLaunch(i, tuple(map(choose, found))) for i, found in enumerate(problems)}
    for members in groups_of(plan):
        config = choose.group([problem for i in members for problem in problems[i]])
        if config is not None:
            launches |= dict.fromkeys(members, GroupLaunch(members, config))
    return tuple(dict.fromkeys(launches.values()))
