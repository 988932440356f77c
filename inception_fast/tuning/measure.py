"""Times the rule's candidates for the convolutions of a Plan and for its groups, each on memory like its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from inception_fast.plan.plan import ConvStep, Plan
from inception_fast.tuning.candidates import candidates
from inception_fast.tuning.cost import Limits
from inception_fast.tuning.group import group_candidates, group_key, groups_of, is_grouped
from inception_fast.tuning.problem import ConvConfig, ConvProblem, problems_of_step
from inception_fast.tuning.workspace import workspace_of

Timer = Callable[[Callable[[], None]], float]
"""Seconds that a function's work takes on the device."""

Problems = tuple[ConvProblem, ...]
"""A convolution, or those of a group."""

Launch = Callable[[ConvConfig | None], None]
"""Runs a candidate; None stands for one launch each."""


@dataclass(frozen=True)
class Measurement:
    """The candidates of one convolution or group with their times in seconds, in the rule's order.

    A candidate that could not be launched has an infinite time. None is a group's convolutions one by one.
    """

    problems: Problems
    times: tuple[tuple[ConvConfig | None, float], ...]

    @property
    def key(self) -> str:
        return group_key(self.problems)

    @property
    def flops(self) -> int:
        return sum(p.flops for p in self.problems)

    @property
    def best(self) -> tuple[ConvConfig | None, float]:
        """The fastest; of equals the one that the rule prefers."""
        return min(self.times, key=lambda pair: pair[1])


def problems_of(plan: Plan, precision: str, batches: Sequence[int]) -> dict[Problems, tuple[int, ...]]:
    """Every different convolution of a Plan at every batch size, then every group, and steps that have them."""
    convolutions = [(i,) for i, step in enumerate(plan.steps) if isinstance(step, ConvStep)]
    found: dict[Problems, tuple[int, ...]] = {}
    for members in [*convolutions, *groups_of(plan)]:
        for images in batches:
            steps = [plan.steps[i] for i in members]
            problems = [p for step in steps for p in problems_of_step(plan, step, precision, images)]
            found.setdefault(tuple(problems), members)
    return found


def choices(problems: Problems, limits: Limits) -> list[ConvConfig | None]:
    """What is measured, the rule's own choice first."""
    if len(problems) == 1:
        return [*candidates(problems[0], limits)]
    together = group_candidates(problems, limits)
    return [*together, None] if is_grouped(problems, limits) else [None, *together]


def tune(
    plan: Plan,
    constants: Mapping[str, torch.Tensor],
    problems: Mapping[Problems, tuple[int, ...]],
    device: torch.device,
    limits: Limits,
    timer: Timer,
    known: Mapping[str, ConvConfig | None],
) -> Iterator[Measurement]:
    """Measures one after the other; those of :func:`problems_of`, or fewer.

    Args:
        known: what was measured before; a group's convolutions have these configurations when they run one by one.
    """
    best = dict(known)
    for found, members in problems.items():
        alone = [best.get(p.key) or candidates(p, limits)[0] for p in found]
        configs = choices(found, limits)
        launch = _launcher(plan, constants, members, found, configs, alone, device)
        measured = Measurement(found, tuple((c, _time(launch, c, timer)) for c in configs))
        best[measured.key] = measured.best[0]
        yield measured


def device_timer(work: Callable[[], None]) -> float:
    """Median of what CUDA events say, the L2 cache being cleared in between.

    What is timed is a CUDA graph, as a forward pass is: launches from Python would be charged to whoever has more.
    """
    from triton.testing import do_bench

    work()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return do_bench(graph.replay, warmup=10, rep=40, return_mode="median") / 1e3


def _time(launch: Launch, config: ConvConfig | None, timer: Timer) -> float:
    from triton.compiler.errors import CompilationError
    from triton.runtime.errors import OutOfResources, PTXASError

    try:
        return timer(lambda: launch(config))
    except (OutOfResources, CompilationError, PTXASError):
        return float("inf")


def _launcher(
    plan: Plan,
    constants: Mapping[str, torch.Tensor],
    members: Sequence[int],
    problems: Problems,
    configs: Sequence[ConvConfig | None],
    alone: Sequence[ConvConfig],
    device: torch.device,
) -> Launch:
    """Launches steps together, in one of ``configs``, or each in its configuration ``alone``."""
    from inception_fast.triton_kernels.conv import PackedConv, launch_conv, pack_conv
    from inception_fast.triton_kernels.functions import Function
    from inception_fast.triton_kernels.group import launch_group, pack_group
    from inception_fast.triton_kernels.split import Workspace

    steps = [step for i in members if isinstance(step := plan.steps[i], ConvStep)]
    dtype, images, tf32 = getattr(torch, plan.dtype), problems[0].images, problems[0].precision == "tf32"
    sizes = [workspace_of(problems, config) for config in configs if config is not None]
    sizes += [workspace_of([p], config) for p, config in zip(problems, alone, strict=True)]
    workspace = Workspace.of(sizes, device)

    def memory(buffer: int, channels: int) -> torch.Tensor:
        b = plan.buffers[buffer]
        return torch.randn(images, b.height, b.width, channels, device=device).to(dtype)

    def launcher(step: ConvStep, packed: PackedConv) -> Callable[[ConvConfig], None]:
        source = memory(step.source.buffer, step.source.channels)
        targets = [memory(d.slice.buffer, d.slice.channels) for d in step.destinations]
        residual = None if step.residual is None else memory(step.residual.buffer, step.residual.channels)
        names = [d.activation.slope for d in step.destinations if d.activation and d.activation.slope]
        slopes = {name: constants[name].to(device, torch.float32) for name in names}
        functions = [Function.of(d, slopes) for d in step.destinations]
        return lambda config: launch_conv(packed, config, source, targets, functions, residual, tf32, workspace)

    if len(steps) == 1:
        single = launcher(steps[0], pack_conv(steps[0].conv, constants, device))
        return lambda config: single(config or alone[0])
    group = pack_group(steps, plan.buffers, constants, device)
    each = [launcher(step, packed) for step, packed in zip(steps, group.convs, strict=True)]
    arena = torch.randn(images * plan.arena, device=device).to(dtype)

    def launch(config: ConvConfig | None) -> None:
        if config is not None:
            launch_group(group, config, arena, images, tf32, workspace)
            return
        for run, own in zip(each, alone, strict=True):
            run(own)

    return launch
