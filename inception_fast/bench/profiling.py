"""Where a FastModel's time goes, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

from inception_fast.bench.statistics import Summary
from inception_fast.bench.timeline import block_timeline
from inception_fast.bench.timing import interleave, timer_for
from inception_fast.explain.labels import channels, epilogue, headline, planes
from inception_fast.fast_model import FastModel
from inception_fast.plan.cost import operations, traffic

WARM_UP = 3


@dataclass(frozen=True)
class StepProfile:
    """One step over some passes.

    Attributes:
        operation: what it computes, in a word or two; ``what`` has its sizes besides.
        share: of the sum of all steps' medians.
        operations: floating-point operations of the batch.
        traffic: bytes that it must move at least.
    """

    step: str
    kind: str
    operation: str
    stage: int
    what: str
    algorithm: str
    seconds: Summary
    share: float
    operations: int
    traffic: int


@dataclass(frozen=True)
class Profile:
    """Steps in order, and the whole pass, which is not slowed down by looking at it."""

    steps: tuple[StepProfile, ...]
    whole: Summary


def profile(
    fast: FastModel, x: torch.Tensor, rounds: int, track: Callable[[Iterable[int]], Iterable[int]] = iter
) -> Profile:
    """Times every step of ``fast`` on ``x``, which it takes.

    Raises:
        InputError: it does not.
        NotImplementedError: the backend does not see its steps one by one.
    """
    fast.check(x)
    plan, typed = fast.plan, fast.as_taken(x)
    _, executor = fast.executor_for(x.device)
    passes = [executor.profile(typed) for _ in track(range(WARM_UP + rounds))][WARM_UP:]
    seconds: dict[str, list[float]] = {}
    algorithms: dict[str, str] = {}
    for one in passes:
        totals: dict[str, float] = {}
        for time in one:
            # A backend may need several operators for a step.
            totals[time.step] = totals.get(time.step, 0.0) + time.seconds
            algorithms[time.step] = time.algorithm
        for step, total in totals.items():
            seconds.setdefault(step, []).append(total)
    summaries = {step: Summary.of(sample) for step, sample in seconds.items()}
    total = sum(s.median for s in summaries.values())
    stage_of = {i: number for number, stage in enumerate(plan.stages) for i in stage}
    steps = tuple(
        StepProfile(
            step=step.name,
            kind=step.kind,
            operation=headline(plan, step),
            stage=stage_of[i],
            what=f"{headline(plan, step)} {planes(plan, step)} {channels(step)} {epilogue(step)}".strip(),
            algorithm=algorithms[step.name],
            seconds=summaries[step.name],
            share=summaries[step.name].median / total,
            operations=len(x) * operations(plan, step),
            traffic=traffic(plan, step, len(x)),
        )
        for i, step in enumerate(plan.steps)
        if step.name in summaries
    )
    whole = interleave({"run": lambda: executor.run(typed)}, rounds=rounds, timer=timer_for(x.device))
    return Profile(steps, Summary.of(whole["run"]))


def timeline(fast: FastModel, x: torch.Tensor) -> dict[str, object] | None:
    """One pass on ``x``, which ``fast`` takes, as :func:`~.timeline.block_timeline` draws it; None where the backend
    does not see its blocks.

    Raises:
        InputError: it does not take it.
    """
    fast.check(x)
    _, executor = fast.executor_for(x.device)
    try:
        blocks = executor.trace(fast.as_taken(x))
    except NotImplementedError:
        return None
    return block_timeline(blocks)


def chrome_trace(steps: Sequence[StepProfile]) -> dict[str, object]:
    """The steps' medians one after the other, in the Trace Event Format that chrome://tracing and Perfetto read."""
    events, begin = [], 0.0
    for step in steps:
        microseconds = step.seconds.median * 1e6
        details = {"what": step.what, "stage": step.stage, "algorithm": step.algorithm}
        event = {"name": step.step, "cat": step.kind, "ph": "X", "ts": begin, "dur": microseconds, "pid": 0, "tid": 0}
        events.append({**event, "args": details})
        begin += microseconds
    return {"traceEvents": events, "displayTimeUnit": "ms"}
