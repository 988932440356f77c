"""Moves ReLU into the op that produces its argument.

Before::

    c = Conv2d(x)                       # or Linear, Add, Affine, AvgPool
    y = ReLU(c)

After::

    y = Conv2d(x, relu)

Conditions: ``c`` has no other reader. Three more cases:

* ``ReLU(y)`` where ``y`` ends in a ReLU, or is a concat of such values, is ``y``: ``max(max(x, 0), 0) = max(x, 0)``.
* ``ReLU(Concat(a, b))`` becomes ``Concat(ReLU(a), ReLU(b))``, because ReLU works on each element, where the concat
  and all its inputs have no other reader and at least one of them can take the ReLU in; otherwise it would only be
  cut into pieces.
* Anything else keeps its ReLU, which runs as a pointwise step.
"""

from __future__ import annotations

from dataclasses import replace

from inception_fast.graph import ir
from inception_fast.graph.edit import Edit


def fuse_activation(graph: ir.Graph) -> ir.Graph:
    """A graph with a ReLU node only where nothing in front of it can take it."""
    edit = Edit(graph)
    for node in graph.of_kind(ir.ReLU):
        value = node.inputs[0]
        producer = edit.producer(value)
        if _is_activated(edit, producer):
            edit.alias(node.name, value)
        elif _obstacle(edit, node) is None:
            edit.put(node.name, *_activate(edit, producer))
    return edit.finish()


def why_not(graph: ir.Graph) -> tuple[str, ...]:
    """Why each ReLU of a fused graph is still there."""
    edit = Edit(graph)
    return tuple(f"{n.origin or n.name}: {reason}" for n in graph.of_kind(ir.ReLU) if (reason := _obstacle(edit, n)))


def _obstacle(edit: Edit, node: ir.Node) -> str | None:
    value = node.inputs[0]
    if not edit.old.is_private(value):
        return f"%{value} has other readers"
    return _refusal(edit, edit.producer(value))


def _refusal(edit: Edit, producer: ir.Node) -> str | None:
    """Why a node whose value is private cannot take a ReLU in."""
    if _with_relu(producer.op) is not None or _is_activated(edit, producer):
        return None
    if not isinstance(producer.op, ir.Concat):
        return f"follows {producer.op.kind}, which has no activation"
    shared = [i for i in producer.inputs if not edit.old.is_private(i)]
    if shared:
        return f"%{shared[0]} in the concat has other readers"
    if all(_refusal(edit, edit.producer(i)) for i in producer.inputs):
        return "nothing in the concat has an activation"
    return None


def _activate(edit: Edit, node: ir.Node) -> tuple[ir.Op, tuple[str, ...], str]:
    """Op, inputs and origin of ``ReLU(node)``."""
    op = _with_relu(node.op)
    if op is not None:
        return op, node.inputs, node.origin
    if _refusal(edit, node) is not None:
        return ir.ReLU(), (node.name,), node.origin
    inputs = []
    for value in node.inputs:
        producer = edit.producer(value)
        done = _is_activated(edit, producer)
        inputs.append(value if done else edit.put(edit.fresh(f"{value}_relu"), *_activate(edit, producer)))
    return node.op, tuple(inputs), node.origin


def _is_activated(edit: Edit, node: ir.Node) -> bool:
    """True where a node's value is its own ReLU."""
    if isinstance(node.op, ir.Concat):
        return all(_is_activated(edit, edit.producer(i)) for i in node.inputs)
    return isinstance(node.op, ir.ReLU) or _with_relu(node.op) == node.op


def _with_relu(op: ir.Op) -> ir.Op | None:
    """``ReLU(op)`` as one op, where there is one."""
    match op:
        case ir.Conv2d():
            return replace(op, segments=tuple(replace(s, relu=True) for s in op.segments))
        case ir.Linear() | ir.Add() | ir.Affine() | ir.AvgPool():
            return replace(op, relu=True)
        case _:
            return None
