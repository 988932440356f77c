"""The steps of real networks as problems of their own: one step, its own input, its own outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch

from inception_fast.explain.labels import TIMES, channels, epilogue, headline, planes
from inception_fast.lowering.lower import describe
from inception_fast.plan.plan import (
    Buffer,
    ConvStep,
    Destination,
    Output,
    PairStep,
    Plan,
    PointwiseStep,
    PoolStep,
    Slice,
    Step,
    constants_of,
    convolutions_of,
    destinations_of,
    sources_of,
)


@dataclass(frozen=True)
class Layer:
    """A step on its own.

    Attributes:
        plan: float64; its input holds the step's operands one after the other along the channels, and each destination
            is an output. :func:`typed` makes it another dtype.
        constants: float64.
        label: kind, image, channels and epilogue, in words.
        names: of the steps that have this shape, ``model:step``.
    """

    plan: Plan
    constants: Mapping[str, torch.Tensor]
    label: str
    names: tuple[str, ...]

    @property
    def step(self) -> Step:
        return self.plan.steps[0]


def unique_layers(plans: Mapping[str, tuple[Plan, Mapping[str, torch.Tensor]]]) -> list[Layer]:
    """Every different step of some networks, by model name; those of one shape are one."""
    found: dict[object, Layer] = {}
    for model, (plan, constants) in plans.items():
        for step in plan.steps:
            if not isinstance(step, ConvStep | PairStep | PoolStep | PointwiseStep):
                continue
            alone = isolate(plan, step)
            key = signature(alone)
            name = f"{model}:{step.name}"
            if key in found:
                found[key] = replace(found[key], names=(*found[key].names, name))
            else:
                used = {n: constants[n] for n in constants_of(step)}
                label = f"{headline(plan, step)} {planes(plan, step)} {channels(step)} {epilogue(step)}".strip()
                found[key] = Layer(alone, used, label + _split(step), (name,))
    return list(found.values())


def _split(step: Step) -> str:
    parts = [str(d.slice.channels) for d in destinations_of(step)]
    return f" into {'+'.join(parts)}" if len(parts) > 1 else ""


def isolate(plan: Plan, step: Step) -> Plan:
    """A Plan of one step: dense outputs, and one input that holds its operands."""
    operands, targets = sources_of(step), destinations_of(step)
    source = plan.buffers[step.source.buffer]
    buffers = [Buffer("input", source.height, source.width, sum(piece.channels for piece in operands), "input")]
    moved, start = [], 0
    for piece in operands:
        moved.append(Slice(0, start, piece.channels))
        start += piece.channels
    placed = []
    for number, d in enumerate(targets):
        shape = plan.buffers[d.slice.buffer]
        buffers.append(Buffer(f"output.{number}", shape.height, shape.width, d.slice.channels, "output"))
        placed.append(replace(d, slice=Slice(number + 1, 0, d.slice.channels)))
    outputs = tuple(Output(i, flat=False) for i in range(1, len(buffers)))
    used = {name: plan.constants[name] for name in constants_of(step)}
    return Plan(plan.dtype, tuple(buffers), (_rewired(step, moved, placed),), ((0,),), used, outputs, 0)


def _rewired(step: Step, sources: list[Slice], targets: list[Destination]) -> Step:
    second = sources[1] if len(sources) > 1 else None
    if isinstance(step, ConvStep | PairStep):
        return replace(step, source=sources[0], destinations=tuple(targets), residual=second)
    if isinstance(step, PointwiseStep):
        return replace(step, source=sources[0], destination=targets[0], other=second)
    return replace(step, source=sources[0], destination=targets[0])


def signature(alone: Plan) -> object:
    """What two isolated steps share where they are the same problem: everything but names and values."""
    (step,) = alone.steps
    shapes = tuple((b.height, b.width, b.channels) for b in alone.buffers)
    convolutions = tuple((c.in_channels, c.out_channels, c.taps, c.stride) for c in convolutions_of(step))
    activations = tuple((d.relu, d.activation and replace(d.activation, slope=None)) for d in destinations_of(step))
    present = tuple(getattr(step, name, None) is not None for name in ("bias", "scale", "shift", "residual", "other"))
    pool = (step.mode, step.kernel, step.stride, step.padding, step.divisor) if isinstance(step, PoolStep) else None
    return step.kind, shapes, convolutions, activations, present, pool


def typed(layer: Layer, dtype: str) -> tuple[Plan, dict[str, torch.Tensor]]:
    """The layer's Plan and constants in another dtype: weights in it, everything else in float32."""
    weights = {conv.weight for conv in convolutions_of(layer.step)}
    constants = {
        name: value.to(getattr(torch, dtype) if name in weights or dtype == "float64" else torch.float32)
        for name, value in layer.constants.items()
    }
    return replace(layer.plan, dtype=dtype, constants=describe(constants)), constants


def concats(plans: Iterable[Plan]) -> dict[str, tuple[tuple[int, int, int], ...]]:
    """The pieces ``(channels, height, width)`` of every different concat that was eliminated, by label."""
    found = {}
    for plan in plans:
        pieces: dict[int, list[Slice]] = {}
        for d in (d for step in plan.steps for d in destinations_of(step)):
            pieces.setdefault(d.slice.buffer, []).append(d.slice)
        for index, parts in pieces.items():
            if len(parts) > 1:
                b = plan.buffers[index]
                widths = [p.channels for p in sorted(parts, key=lambda p: p.start)]
                label = f"cat {b.height}{TIMES}{b.width} {'+'.join(map(str, widths))}"
                found[label] = tuple((width, b.height, b.width) for width in widths)
    return found
