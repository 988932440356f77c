"""Moves a ReLU, or another function of each element, into the op that produces its argument.

Before::

    c = Conv2d(x)                       # or DepthwiseConv2d, Linear, Add, Affine; for a ReLU also AvgPool
    y = ReLU(c)                         # or Activate

After::

    y = Conv2d(x, relu)

Conditions: ``c`` has no other reader, and no activation yet. Three more cases:

* ``ReLU(y)`` where ``y`` ends in a ReLU, or is a concat of such values, is ``y``: ``max(max(x, 0), 0) = max(x, 0)``.
* ``f(Concat(a, b))`` becomes ``Concat(f(a), f(b))``, because ``f`` works on each element, where the concat and all its
  inputs have no other reader, ``f`` has no slopes of its own for each channel, and at least one of them can take ``f``
  in; otherwise it would only be cut into pieces.
* Anything else keeps its activation, which runs as a pointwise step.
"""

from __future__ import annotations

from dataclasses import replace

from inception_fast.graph import ir
from inception_fast.graph.edit import Edit

_TAKERS = (ir.Conv2d, ir.DepthwiseConv2d, ir.Linear, ir.Add, ir.Affine)


_KINDS: tuple[type[ir.Op], ...] = (ir.ReLU, ir.Activate)


def fuse_activation(graph: ir.Graph, kinds: tuple[type[ir.Op], ...] = _KINDS) -> ir.Graph:
    """A graph with a node of ``kinds`` only where nothing in front of it can take it."""
    edit = Edit(graph)
    for node in graph.of_kind(*kinds):
        value = node.inputs[0]
        producer = edit.producer(value)
        if isinstance(node.op, ir.ReLU) and _is_rectified(edit, producer):
            edit.alias(node.name, value)
        elif _obstacle(edit, node) is None:
            edit.put(node.name, *_activated(edit, producer, node.op))
    return edit.finish()


def why_not(graph: ir.Graph) -> tuple[str, ...]:
    """Why each activation of a fused graph is still there."""
    edit = Edit(graph)
    nodes = graph.of_kind(*_KINDS)
    return tuple(f"{n.origin or n.name}: {reason}" for n in nodes if (reason := _obstacle(edit, n)))


def _obstacle(edit: Edit, node: ir.Node) -> str | None:
    value = node.inputs[0]
    if not edit.old.is_private(value):
        return f"%{value} has other readers"
    return _refusal(edit, edit.producer(value), node.op)


def _refusal(edit: Edit, producer: ir.Node, function: ir.Operation) -> str | None:
    """Why a node whose value is private cannot take a function in."""
    if _with(producer.op, function) is not None or (isinstance(function, ir.ReLU) and _is_rectified(edit, producer)):
        return None
    if isinstance(producer.op, _TAKERS):
        return f"follows {producer.op.kind}, which ends in an activation already"
    if not isinstance(producer.op, ir.Concat):
        return f"follows {producer.op.kind}, which has no activation"
    if _slope(function) is not None:
        return "has a slope for each channel of a concat"
    shared = [i for i in producer.inputs if i in edit.old.by_name and not edit.old.is_private(i)]
    if shared:
        return f"%{shared[0]} in the concat has other readers"
    if all(_refusal(edit, edit.producer(i), function) for i in producer.inputs):
        return "nothing in the concat has an activation"
    return None


def _activated(edit: Edit, node: ir.Node, function: ir.Operation) -> tuple[ir.Operation, tuple[str, ...], str]:
    """Op, inputs and origin of ``function(node)``."""
    op = _with(node.op, function)
    if op is not None:
        return op, node.inputs, node.origin
    if _refusal(edit, node, function) is not None:
        return function, (node.name,), node.origin
    inputs = []
    for value in node.inputs:
        producer = edit.producer(value)
        done = isinstance(function, ir.ReLU) and _is_rectified(edit, producer)
        name = f"{value}_{'relu' if isinstance(function, ir.ReLU) else 'activate'}"
        inputs.append(value if done else edit.put(edit.fresh(name), *_activated(edit, producer, function)))
    return node.op, tuple(inputs), node.origin


def _is_rectified(edit: Edit, node: ir.Node) -> bool:
    """True where a node's value is its own ReLU."""
    if isinstance(node.op, ir.Concat):
        return all(_is_rectified(edit, edit.producer(i)) for i in node.inputs)
    match node.op:
        case ir.ReLU() | ir.AvgPool(relu=True):
            return True
        case ir.Conv2d(segments=segments):
            return all(s.relu for s in segments)
        case ir.Activated(relu=relu):
            return relu
        case _:
            return False


def _with(op: ir.Operation, function: ir.Operation) -> ir.Operation | None:
    """``function(op)`` as one op, where there is one."""
    relu, activation = isinstance(function, ir.ReLU), getattr(function, "activation", None)
    match op:
        case ir.Conv2d(segments=segments) if all(s.is_linear or (relu and s.relu) for s in segments):
            if len(segments) > 1 and _slope(function) is not None:
                return None
            return replace(op, segments=tuple(replace(s, relu=relu, activation=activation) for s in segments))
        case ir.DepthwiseConv2d() | ir.Linear() | ir.Add() | ir.Affine() if op.is_linear or (relu and op.relu):
            return replace(op, relu=relu, activation=activation)
        case ir.AvgPool() if relu:
            return replace(op, relu=True)
        case _:
            return None


def _slope(function: ir.Operation) -> str | None:
    return function.activation.slope if isinstance(function, ir.Activate) else None
