"""A Plan that shows the result of every step, to find the first one where a backend goes wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from inception_fast.backends import Backend, get_backend
from inception_fast.bench.accuracy import allowed, compare, within
from inception_fast.fast_model import FastModel
from inception_fast.graph import ir
from inception_fast.graph.interpreter import interpret
from inception_fast.graph.ir import Graph
from inception_fast.lowering.placement import is_merged, is_segment
from inception_fast.plan.memory import layout, lifetimes
from inception_fast.plan.plan import Buffer, Destination, Output, Plan, PointwiseStep, Slice, Step, destinations_of


@dataclass(frozen=True)
class Divergence:
    """Where a backend first leaves the truth.

    Attributes:
        step: name of the step.
        error: relative L2 of its result to the same step's in float64.
        bound: what the error of PyTorch's own operators allows.
    """

    step: str
    kind: str
    error: float
    bound: float


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
    """The first step whose result is further from float64 than twice what PyTorch's own operators are on the CPU.

    Args:
        graph: the prepared Graph that the Plan of ``fast`` was lowered from.
        x: images that ``fast`` takes, on its device.
        backend: what to suspect; the FastModel's own by default.

    Returns:
        None where every step agrees: then the fault needs the Plan's own memory or order of steps to show.

    Raises:
        InputError: ``fast`` does not take ``x``.
    """
    suspect = backend or get_backend(fast.backend)
    fast.check(x)
    typed = fast.as_taken(x)
    found = _run(suspect, fast.plan, fast.engine.constants, typed, fast.precision)
    names = [name for step in fast.plan.steps for name in _written(graph, step)]
    truth = _like(interpret(graph, typed.cpu(), values=names), found)
    dtype = getattr(torch, fast.plan.io_dtype)
    eager = _like(interpret(graph, typed.cpu(), dtype, values=names), found)
    position = 0
    for step in fast.plan.steps:
        count = len(destinations_of(step))
        here = slice(position, position + count)
        position += count
        error = compare(found[here], truth[here])
        bound = allowed(fast.precision, compare(eager[here], truth[here]).relative_l2)
        if not within(error, bound):
            return Divergence(step.name, step.kind, error.relative_l2, bound)
    return None


def _written(graph: Graph, step: Step) -> list[str]:
    """The Graph's values that a step writes, one for each destination."""
    # A copy to an output is a step of its own, named after the value.
    name = step.name if step.name in graph.by_name else step.name.removesuffix(".output")
    if not is_merged(graph.by_name[name].op):
        return [name]
    readers = [node for node in graph.consumers[name] if is_segment(graph, node)]
    segments = [(node.op.start, node.name) for node in readers if isinstance(node.op, ir.Slice)]
    return [name for _, name in sorted(segments)]


def _like(values: Sequence[torch.Tensor], found: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [value.double().view(other.shape) for value, other in zip(values, found, strict=True)]


def _run(
    backend: Backend, plan: Plan, constants: Mapping[str, torch.Tensor], x: torch.Tensor, precision: str
) -> Sequence[torch.Tensor]:
    executor = backend.compile(observed(plan), constants, device=x.device, precision=precision)
    return [result.to("cpu", torch.float64) for result in executor.run(x)]
