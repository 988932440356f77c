"""A Plan that shows the result of every step, to find the first one where a backend goes wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from inception_fast.backends import Backend, get_backend
from inception_fast.bench.accuracy import allowed, compare, within
from inception_fast.fast_model import FastModel
from inception_fast.graph.ir import Graph
from inception_fast.plan.lower import lower
from inception_fast.plan.memory import layout, lifetimes
from inception_fast.plan.plan import Buffer, Destination, Output, Plan, PointwiseStep, Slice, Step, destinations_of


@dataclass(frozen=True)
class Divergence:
    """Where a backend first leaves the truth.

    Attributes:
        step: name of the step.
        error: relative L2 of its result to the same step's in float64.
        bound: what the reference backend's own error allows.
    """

    step: str
    kind: str
    error: float
    bound: float


HALF_FACTOR = 2.0
"""The reference rounds each result once; PyTorch's operators round on the way too where the processor has no
instructions for that dtype.
"""


def observed(plan: Plan) -> Plan:
    """The Plan with copies of every step's destinations as its outputs, in the order of the steps.

    Each stage is followed by one that copies what it wrote, before anyone can overwrite it.
    """
    buffers = [replace(b, home="arena") if b.home == "output" else b for b in plan.buffers]
    steps: list[Step] = []
    stages: list[tuple[int, ...]] = []
    outputs: list[Output] = []
    for stage in plan.stages:
        members = [plan.steps[i] for i in stage]
        copies: list[Step] = []
        for step in members:
            for number, destination in enumerate(destinations_of(step)):
                written = destination.slice
                name = f"{step.name}.observed.{number}"
                shape = buffers[written.buffer]
                buffers.append(Buffer(name, shape.height, shape.width, written.channels, "output"))
                copy = Slice(len(buffers) - 1, 0, written.channels)
                copies.append(PointwiseStep(name, written, Destination(copy, relu=False)))
                outputs.append(Output(copy.buffer, flat=False))
        for group in (members, copies):
            stages.append(tuple(range(len(steps), len(steps) + len(group))))
            steps += group
    sizes = {i: b.size for i, b in enumerate(buffers) if b.home == "arena"}
    offsets, arena = layout(sizes, lifetimes(tuple(steps), tuple(stages)))
    placed = tuple(replace(b, offset=offsets.get(i, 0)) for i, b in enumerate(buffers))
    return Plan(plan.dtype, placed, tuple(steps), tuple(stages), plan.constants, tuple(outputs), arena)


def first_divergence(
    graph: Graph, fast: FastModel, x: torch.Tensor, backend: Backend | None = None
) -> Divergence | None:
    """The first step whose result is further from float64 than twice what the reference backend's is; HALF_FACTOR times
    that in half precision.

    Args:
        graph: the prepared Graph that the Plan of ``fast`` was lowered from.
        x: ``[N, C, H, W]`` on the device of ``fast``.
        backend: what to suspect; the FastModel's own by default.

    Returns:
        None where every step agrees: then the fault needs the Plan's own memory or order of steps to show.
    """
    suspect, reference = backend or get_backend(fast.backend), get_backend("reference")
    exact, constants = lower(graph, "float64")
    ours = fast.engine.constants
    truth = _run(reference, exact, constants, x.cpu().double(), "fp32")
    typed = x.to(getattr(torch, fast.plan.io_dtype))
    expected = _run(reference, fast.plan, ours, typed.cpu(), fast.precision)
    found = _run(suspect, fast.plan, ours, typed, fast.precision)
    factor = HALF_FACTOR if fast.precision in ("fp16", "bf16") else 1.0
    position = 0
    for step in fast.plan.steps:
        count = len(destinations_of(step))
        here = slice(position, position + count)
        position += count
        error = compare(found[here], truth[here])
        bound = factor * allowed(fast.precision, compare(expected[here], truth[here]).relative_l2)
        if not within(error, bound):
            return Divergence(step.name, step.kind, error.relative_l2, bound)
    return None


def _run(
    backend: Backend, plan: Plan, constants: Mapping[str, torch.Tensor], x: torch.Tensor, precision: str
) -> Sequence[torch.Tensor]:
    executor = backend.compile(observed(plan), constants, device=x.device, precision=precision)
    return [result.to("cpu", torch.float64) for result in executor.run(x)]
