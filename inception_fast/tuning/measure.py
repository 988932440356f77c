"""Times the rule's candidates for the convolutions of a Plan, each on memory like its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from inception_fast.plan.plan import ConvStep, Plan
from inception_fast.tuning.candidates import Limits, candidates
from inception_fast.tuning.problem import ConvConfig, ConvProblem

Timer = Callable[[Callable[[], None]], float]
"""Seconds that a function's work takes on the device."""


@dataclass(frozen=True)
class Measurement:
    """The candidates of one problem with their times in seconds, in the rule's order.

    A candidate that could not be launched has an infinite time.
    """

    problem: ConvProblem
    times: tuple[tuple[ConvConfig, float], ...]

    @property
    def best(self) -> tuple[ConvConfig, float]:
        """The fastest; of equals the one that the rule prefers."""
        return min(self.times, key=lambda pair: pair[1])


def problems_of(plan: Plan, precision: str, batches: Sequence[int]) -> dict[ConvProblem, ConvStep]:
    """Every different convolution of a Plan at every batch size, and a step that has it."""
    found: dict[ConvProblem, ConvStep] = {}
    for images in batches:
        for step in plan.steps:
            if isinstance(step, ConvStep):
                target = plan.buffers[step.destinations[0].slice.buffer]
                problem = ConvProblem.of(step.conv, target.height * target.width, images, plan.dtype, precision)
                found.setdefault(problem, step)
    return found


def tune(
    plan: Plan,
    constants: Mapping[str, torch.Tensor],
    problems: Mapping[ConvProblem, ConvStep],
    device: torch.device,
    limits: Limits,
    timer: Timer,
) -> Iterator[Measurement]:
    """Measures one problem after the other; those of :func:`problems_of`, or fewer."""
    for problem, step in problems.items():
        launch = _launcher(plan, constants, step, problem, device)
        times = []
        for config in candidates(problem, limits):
            times.append((config, _time(launch, config, timer)))
        yield Measurement(problem, tuple(times))


def device_timer(work: Callable[[], None]) -> float:
    """Median of what CUDA events say, the L2 cache being cleared in between."""
    from triton.testing import do_bench

    return do_bench(work, warmup=10, rep=40, return_mode="median") / 1e3


def _time(launch: Callable[[ConvConfig], None], config: ConvConfig, timer: Timer) -> float:
    from triton.runtime.errors import OutOfResources

    try:
        return timer(lambda: launch(config))
    except OutOfResources:
        return float("inf")


def _launcher(
    plan: Plan, constants: Mapping[str, torch.Tensor], step: ConvStep, problem: ConvProblem, device: torch.device
) -> Callable[[ConvConfig], None]:
    from inception_fast.triton_kernels.conv import launch_conv, pack_conv

    packed = pack_conv(step.conv, constants, device)
    dtype = getattr(torch, plan.dtype)

    def memory(buffer: int, channels: int) -> torch.Tensor:
        b = plan.buffers[buffer]
        return torch.randn(problem.images, b.height, b.width, channels, device=device).to(dtype)

    source = memory(step.source.buffer, step.source.channels)
    targets = [memory(d.slice.buffer, d.slice.channels) for d in step.destinations]
    residual = None if step.residual is None else memory(step.residual.buffer, step.residual.channels)
    relus = [d.relu for d in step.destinations]

    def launch(config: ConvConfig) -> None:
        launch_conv(packed, config, source, targets, relus, residual, problem.precision == "tf32")

    return launch
