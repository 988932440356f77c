"""Graph -> Plan: one step a node, stages, and one arena.

Expects a Graph that the passes have prepared (:func:`inception_fast.graph.passes.optimize_graph`): concats are in
place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch

from inception_fast.activation import Activation
from inception_fast.errors import PlanError
from inception_fast.graph import ir
from inception_fast.graph.shapes import conv_shape
from inception_fast.lowering.placement import Placement, is_merged, is_segment, is_view, place, unflattened
from inception_fast.lowering.rounding import rounded_affine, rounded_weights
from inception_fast.plan.check import accumulator_dtype
from inception_fast.plan.memory import layout, lifetimes
from inception_fast.plan.plan import (
    Constant,
    Convolution,
    ConvStep,
    DepthwiseStep,
    Destination,
    GateStep,
    LocalResponseStep,
    NormalizeStep,
    PadStep,
    PairStep,
    Plan,
    PointwiseStep,
    PoolStep,
    ResizeStep,
    Sensitivity,
    Slice,
    SoftmaxStep,
    Step,
)
from inception_fast.plan.schedule import schedule


@dataclass(frozen=True)
class Lowered:
    """A Plan and what it is made of.

    Attributes:
        constants: CPU tensors as ``plan.constants`` describes them.
        balanced: those among the weights that were rounded for windows that lie in the image, most of them; the others
            are rounded to nearest.
    """

    plan: Plan
    constants: dict[str, torch.Tensor]
    balanced: frozenset[str]


def lowered(graph: ir.Graph, dtype: str = "float32", sensitivities: Mapping[str, Sensitivity] | None = None) -> Lowered:
    """The Plan of a prepared Graph.

    Args:
        sensitivities: of convolutions, by the node's name; of a pair with ``.first`` or ``.second`` behind it.

    Raises:
        PlanError: the Graph was not prepared, or asks for something that no step does.
    """
    placement = place(graph)
    maker = _StepMaker(graph, placement, dtype, sensitivities or {})
    made = [step for node in graph.nodes if (step := maker.step(node)) is not None]
    for value, where in placement.copies:
        made.append(PointwiseStep(f"{value}.output", placement.places[value], Destination(where, relu=False)))
    steps, stages = schedule(made)
    sizes = {i: b.size for i, b in enumerate(placement.buffers) if b.home == "arena"}
    offsets, arena = layout(sizes, lifetimes(steps, stages))
    buffers = tuple(replace(b, offset=offsets.get(i, 0)) for i, b in enumerate(placement.buffers))
    described = describe(maker.constants)
    plan = Plan(dtype, buffers, steps, stages, described, tuple(placement.outputs), arena)
    return Lowered(plan, maker.constants, frozenset(maker.balanced))


def lower(
    graph: ir.Graph, dtype: str = "float32", sensitivities: Mapping[str, Sensitivity] | None = None
) -> tuple[Plan, dict[str, torch.Tensor]]:
    """The Plan and the constants of :func:`lowered`."""
    found = lowered(graph, dtype, sensitivities)
    return found.plan, found.constants


def describe(constants: Mapping[str, torch.Tensor]) -> dict[str, Constant]:
    """Shapes and dtypes of constants, as a Plan lists them."""
    return {k: Constant(tuple(v.shape), str(v.dtype).removeprefix("torch.")) for k, v in constants.items()}


@dataclass
class _StepMaker:
    graph: ir.Graph
    placement: Placement
    dtype: str
    sensitivities: Mapping[str, Sensitivity]
    constants: dict[str, torch.Tensor] = field(default_factory=dict)
    balanced: set[str] = field(default_factory=set)

    def step(self, node: ir.Node) -> Step | None:
        """The step that computes a node, or None where there is nothing to do."""
        op, places = node.op, self.placement.places
        if isinstance(op, ir.Input | ir.Concat) or is_view(self.graph, node) or is_segment(self.graph, node):
            return None
        self._refuse_flattened(node)
        source = places[node.inputs[0]]
        second = places[node.inputs[1]] if len(node.inputs) > 1 else None
        name = node.name
        match op:
            case ir.Conv2d():
                conv = self.convolution(name, op, self.graph.shapes[node.inputs[0]])
                return ConvStep(name, source, conv, self.destinations(node, op), second)
            case ir.ConvPair():
                shape = self.graph.shapes[node.inputs[0]]
                middle = conv_shape(op.first, shape, self.graph.params)
                first = self.convolution(f"{name}.first", op.first, shape)
                last = self.convolution(f"{name}.second", op.second, middle)
                relu, targets = op.first.segments[0].relu, self.destinations(node, op.second)
                return PairStep(name, source, first, relu, middle[1], middle[2], last, targets, second)
            case ir.Linear():
                return ConvStep(name, source, self.linear(node, op), (self.activated(name, op),))
            case ir.DepthwiseConv2d():
                return self.depthwise(node, op, source)
            case ir.MaxPool() | ir.AvgPool():
                return self.pool(name, op, source)
            case ir.AdaptiveAvgPool() | ir.AdaptiveMaxPool():
                return self.adaptive_pool(node, op, source)
            case ir.Activate():
                return PointwiseStep(name, source, self.destination(name, activation=op.activation))
            case ir.Gate():
                assert second is not None
                return GateStep(name, source, second, self.destination(name))
            case ir.Softmax():
                return SoftmaxStep(name, source, self.destination(name), op.log)
            case ir.LocalResponseNorm():
                return LocalResponseStep(name, source, self.destination(name), op.size, op.alpha, op.beta, op.k)
            case ir.Affine():
                return PointwiseStep(name, source, self.activated(name, op), *self.affine(name, op))
            case ir.Add():
                return PointwiseStep(name, source, self.activated(name, op), other=second)
            case ir.ReLU() | ir.Copy():
                return PointwiseStep(name, source, self.destination(name, isinstance(op, ir.ReLU)))
            case ir.Pad():
                scale, shift = self.affine(name, op) if op.scale is not None else (None, None)
                return PadStep(name, source, self.destination(name), op.padding[:2], op.value, scale, shift)
            case ir.Resize():
                return ResizeStep(name, source, self.destination(name), op.align_corners)
            case ir.Normalize():
                return NormalizeStep(name, source, self.destination(name), op.eps)
        raise PlanError(f"{name}: no step does {op.kind}; fold_batchnorm comes before lowering")

    def _refuse_flattened(self, node: ir.Node) -> None:
        """Flattening is free for a 1x1 image and for a linear layer; anything else would need the channels-first
        order.
        """
        for value in node.inputs:
            _, height, width = self.placement.plane(unflattened(self.graph, value))
            flattened = value != unflattened(self.graph, value)
            if flattened and height * width > 1 and not isinstance(node.op, ir.Linear):
                raise PlanError(f"{node.name}: {node.op.kind} over a flattened {height}x{width} image")

    def destination(self, value: str, relu: bool = False, activation: Activation | None = None) -> Destination:
        if activation is not None:
            activation = replace(activation, slope=self.vector(f"{value}.slope", activation.slope))
        return Destination(self.placement.places[value], relu, activation)

    def activated(self, value: str, op: ir.Activated) -> Destination:
        return self.destination(value, op.relu, op.activation)

    def destinations(self, node: ir.Node, op: ir.Conv2d) -> tuple[Destination, ...]:
        """One per segment; a merged convolution's are where its Slice nodes were placed."""
        if not is_merged(op):
            return (self.activated(node.name, op.segments[0]),)
        readers = {n.op.start: (n.name, n.op) for n in self.graph.consumers[node.name] if isinstance(n.op, ir.Slice)}
        targets, start = [], 0
        for segment in op.segments:
            name, reader = readers.get(start, ("", None))
            if reader is None or reader.channels != segment.channels:
                raise PlanError(f"{node.name}: no Slice names the segment at channel {start}")
            targets.append(self.activated(name, segment))
            start += segment.channels
        return tuple(targets)

    def constant(self, name: str, value: torch.Tensor, dtype: str) -> str:
        self.constants[name] = value.detach().to(getattr(torch, dtype)).contiguous()
        return name

    def vector(self, name: str, param: str | None) -> str | None:
        """A bias, scale or shift, kept at the accumulator's precision."""
        return None if param is None else self.constant(name, self.graph.params[param], accumulator_dtype(self.dtype))

    def affine(self, name: str, op: ir.Affine | ir.Pad) -> tuple[str, str]:
        assert op.scale is not None and op.shift is not None
        scale, shift, dtype = self.graph.params[op.scale], self.graph.params[op.shift], accumulator_dtype(self.dtype)
        if dtype == "float32":
            scale, shift = rounded_affine(scale, shift)
        return self.constant(f"{name}.scale", scale, dtype), self.constant(f"{name}.shift", shift, dtype)

    def weights(self, name: str, packed: torch.Tensor, seen: bool) -> str:
        """``[C_out, taps, C_in]``; ``seen``: most windows lie in the image, all of their taps."""
        if not seen or self.dtype != "float32":
            return self.constant(name, packed, self.dtype)
        self.balanced.add(name)
        return self.constant(name, rounded_weights(packed), self.dtype)

    def convolution(self, name: str, op: ir.Conv2d, shape: tuple[int, ...]) -> Convolution:
        """shape: of the source."""
        weight = self.graph.params[op.weight]
        out_channels, in_channels, kernel_h, kernel_w = weight.shape
        window = op.taps or _whole_window(kernel_h, kernel_w)
        rows, columns = [r for r, _ in window], [c for _, c in window]
        packed = weight[:, :, rows, columns].transpose(1, 2)
        taps = _taps(op, window)
        return Convolution(
            self.weights(f"{name}.weight", packed, _are_seen(op, taps, shape)),
            self.vector(f"{name}.bias", op.bias),
            in_channels,
            out_channels,
            taps,
            op.stride,
            sensitivity=self.sensitivities.get(name),
        )

    def depthwise(self, node: ir.Node, op: ir.DepthwiseConv2d, source: Slice) -> DepthwiseStep:
        weight = self.graph.params[op.weight]
        taps = _taps(op, _whole_window(*weight.shape[2:]))
        seen = _are_seen(op, taps, self.graph.shapes[node.inputs[0]])
        # Rounded as a convolution's, whose taps are the second of three axes.
        name = self.weights(f"{node.name}.weight", weight.flatten(2).transpose(1, 2), seen)
        self.constants[name] = self.constants[name].squeeze(2).t().contiguous()
        bias = self.vector(f"{node.name}.bias", op.bias)
        return DepthwiseStep(node.name, source, self.activated(node.name, op), name, bias, taps, op.stride)

    def linear(self, node: ir.Node, op: ir.Linear) -> Convolution:
        """A linear layer over a flattened HxW image is an HxW convolution with one output pixel."""
        channels, height, width = self.placement.plane(unflattened(self.graph, node.inputs[0]))
        weight = self.graph.params[op.weight]
        packed = weight.view(-1, channels, height * width).transpose(1, 2)
        return Convolution(
            self.weights(f"{node.name}.weight", packed, seen=True),
            self.vector(f"{node.name}.bias", op.bias),
            channels,
            weight.shape[0],
            tuple((r, c) for r in range(height) for c in range(width)),
            (1, 1),
        )

    def pool(self, name: str, op: ir.MaxPool | ir.AvgPool, source: Slice) -> PoolStep:
        if isinstance(op, ir.MaxPool):
            if op.dilation != (1, 1):
                raise PlanError(f"{name}: a dilated max pool")
            (vertical, horizontal), (top, left, bottom, right) = op.padding, op.outside
            before, after = (vertical + top, horizontal + left), (vertical + bottom, horizontal + right)
            return PoolStep(name, "max", source, self.destination(name), op.kernel, op.stride, before, after)
        bias, target = self.vector(f"{name}.bias", op.bias), self.destination(name, op.relu)
        divisor: Literal["window", "inside"] = "window" if op.count_include_pad else "inside"
        return PoolStep(name, "avg", source, target, op.kernel, op.stride, op.padding, op.padding, divisor, bias)

    def adaptive_pool(self, node: ir.Node, op: ir.AdaptiveAvgPool | ir.AdaptiveMaxPool, source: Slice) -> PoolStep:
        """A plain pool where the windows are all of one size."""
        _, height, width = self.placement.plane(node.inputs[0])
        even = height % op.size[0] == 0 and width % op.size[1] == 0
        kernel = (height // op.size[0], width // op.size[1]) if even else (1, 1)
        mode: Literal["max", "avg"] = "max" if isinstance(op, ir.AdaptiveMaxPool) else "avg"
        target = self.destination(node.name)
        return PoolStep(node.name, mode, source, target, kernel, kernel, (0, 0), (0, 0), adaptive=not even)


def _whole_window(height: int, width: int) -> tuple[ir.Pair, ...]:
    return tuple((r, c) for r in range(height) for c in range(width))


def _taps(op: ir.Conv2d | ir.DepthwiseConv2d, window: tuple[ir.Pair, ...]) -> tuple[ir.Pair, ...]:
    """Positions in a window as offsets in the image."""
    top, left, *_ = op.padding
    return tuple((r * op.dilation[0] - top, c * op.dilation[1] - left) for r, c in window)


def _are_seen(op: ir.Conv2d | ir.DepthwiseConv2d, taps: tuple[ir.Pair, ...], shape: tuple[int, ...]) -> bool:
    """Whether most windows lie in the image ``shape``, all of their taps."""
    extents = (max(axis) - min(axis) for axis in zip(*taps, strict=True))
    return not any(op.padding) or all(size > 2 * e for size, e in zip(shape[1:], extents, strict=True))
