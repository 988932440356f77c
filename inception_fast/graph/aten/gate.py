"""The product of two tensors that depend on the input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from inception_fast.activation import Activation, FunctionName
from inception_fast.graph import ir
from inception_fast.graph.aten.rule import data, require
from inception_fast.graph.builder import Builder, Data, Place, Symbolic

_SELF_GATED: dict[str, FunctionName] = {"sigmoid": "silu", "hardsigmoid": "hardswish"}
"""``x * function(x)``."""
_NO_GATE = "it multiplies tensors of shapes that are neither equal nor a gate's"


@dataclass(frozen=True)
class Repeated(Symbolic):
    """``x`` repeated along axes of extent 1 until it has ``shape``."""

    x: Data
    shape: ir.Shape

    def __str__(self) -> str:
        return "a repeated tensor, which may only multiply another"


def gate(b: Builder, place: Place, x: Any, y: Any) -> Data:
    """``x * y``, of which one may be repeated along the other's channels or pixels."""
    repeated = [v.shape for v in (x, y) if isinstance(v, Repeated)]
    x, y = (data(v.x if isinstance(v, Repeated) else v) for v in (x, y))
    require(all(_spreads(r, x.shape) or _spreads(r, y.shape) for r in repeated), _NO_GATE)
    if x.same_as(y):
        return _activate(b, place, x, Activation("power", 2.0))
    for plain, other in ((x, y), (y, x)):
        function = _function_of(b, plain, other)
        if function is not None:
            return _activate(b, place, plain, Activation(function))
    image, factor = (x, y) if _fits(b, x, y) else (y, x)
    require(_fits(b, image, factor), _NO_GATE)
    return replace(b.emit(ir.Gate(), [b.settle(image), b.settle(factor)], place), shape=image.shape)


def _activate(b: Builder, place: Place, x: Data, activation: Activation) -> Data:
    return replace(b.emit(ir.Activate(activation), [b.settle(x)], place), shape=x.shape)


def _function_of(b: Builder, x: Data, y: Data) -> FunctionName | None:
    """The function of ``x`` that ``x * y`` is, where ``y`` is one of ``x``, whole and as it is."""
    node = b.node_of(y)
    if node is None or not isinstance(node.op, ir.Activate) or x.shape != y.shape or b.settle(x) != node.inputs[0]:
        return None
    return _SELF_GATED.get(node.op.activation.function)


def _fits(b: Builder, x: Data, gate: Data) -> bool:
    """Whether ``gate`` may be one of ``x``: in the shapes that the model has given them, and in the Graph's own."""
    own, image = b.natural_shape(gate), b.natural_shape(x)
    plane, pixels = own[1:] or (1, 1), image[1:] or (1, 1)
    as_made = x.shape == image or (pixels == (1, 1) and x.has_channels_first)
    aligned = (own[0], *plane) == (*gate.shape, 1, 1)[:3]
    return _spreads(gate.shape, x.shape) and as_made and aligned and plane in ((1, 1), pixels)


def _spreads(shape: ir.Shape, full: ir.Shape) -> bool:
    """Whether a tensor of one shape is repeated to the other, axis by axis."""
    # Shapes of other lengths would line up a batch with something else.
    return len(shape) == len(full) and all(s in (1, f) for s, f in zip(shape, full, strict=True))
