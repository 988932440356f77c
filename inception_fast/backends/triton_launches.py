"""Which launches a Plan takes at a batch size: a step each, or several together.

Together are the convolutions of a stage where they are small, and a convolution with a max pool where both are large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inception_fast.plan.plan import Plan, PoolStep, Slice, destinations_of, sources_of
from inception_fast.tuning.choice import ConfigChoice
from inception_fast.tuning.group import groups_of
from inception_fast.tuning.pooling import conv_pool_pairs, moved_buffers, pool_conv_pairs
from inception_fast.tuning.problem import ConvConfig, problems_of_step
from inception_fast.tuning.workspace import workspace_of


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


@dataclass(frozen=True)
class PoolLaunch:
    """A convolution and a max pool, by index, the one that comes first before the other; in the place of the first.

    Attributes:
        moved: buffers that need memory of their own.
    """

    steps: tuple[int, int]
    config: ConvConfig
    moved: tuple[int, ...]


Launch = StepLaunch | GroupLaunch | PoolLaunch


def plan_launches(plan: Plan, precision: str, images: int, choose: ConfigChoice) -> tuple[Launch, ...]:
    """The launches of one forward pass, in order; every step is in one of them."""
    problems = [problems_of_step(plan, step, precision, images) for step in plan.steps]
    launches: dict[int, Launch] = {i: StepLaunch(i, tuple(map(choose, found))) for i, found in enumerate(problems)}
    for members in groups_of(plan):
        config = choose.group([problem for i in members for problem in problems[i]])
        if config is not None:
            launches |= dict.fromkeys(members, GroupLaunch(members, config))
    # A group reads and writes the arena only, so what it touches stays there.
    touched = (p.buffer for i, launch in launches.items() if isinstance(launch, GroupLaunch) for p in _slices(plan, i))
    fixed = frozenset(touched)

    def fuse(first: int, second: int, config: ConvConfig | None) -> None:
        """Puts two steps that have a launch each into one."""
        alone = all(isinstance(launches[i], StepLaunch) for i in (first, second))
        moved = moved_buffers(plan, first, second)
        if config is not None and alone and not fixed.intersection(moved):
            launches.update(dict.fromkeys((first, second), PoolLaunch((first, second), config, tuple(moved))))

    for conv, pool in conv_pool_pairs(plan):
        step, out = plan.steps[pool], plan.buffers[destinations_of(plan.steps[pool])[0].slice.buffer]
        assert isinstance(step, PoolStep)
        fuse(conv, pool, choose.conv_pool(problems[conv][0], step, (out.height, out.width)))
    for pool, conv in pool_conv_pairs(plan):
        fuse(pool, conv, choose.pool_conv(problems[conv][0]))
    return tuple(dict.fromkeys(launches.values()))


def workspace_sizes(plan: Plan, precision: str, images: int, launches: Sequence[Launch]) -> list[tuple[int, int]]:
    """What :meth:`inception_fast.triton_kernels.split.Workspace.of` takes for a forward pass."""
    sizes = []
    for launch in launches:
        problems = [p for i in launch.steps for p in problems_of_step(plan, plan.steps[i], precision, images)]
        if isinstance(launch, GroupLaunch):
            sizes.append(workspace_of(problems, launch.config))
        elif isinstance(launch, StepLaunch):
            sizes += [workspace_of([p], config) for p, config in zip(problems, launch.configs, strict=True)]
    return sizes


def _slices(plan: Plan, index: int) -> list[Slice]:
    step = plan.steps[index]
    return [*sources_of(step), *(d.slice for d in destinations_of(step))]
