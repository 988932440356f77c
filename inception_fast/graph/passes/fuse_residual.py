"""Moves the addition of a residual into the convolution's epilogue.

Before::

    c = Conv2d(x; W, b)
    y = Add(r, c)                       # either order, with or without activation

After::

    y = Conv2d(x, r; W, b)              # act(W * x + b + r)

Algebra: addition commutes, so only the order of rounding changes. The scale of Inception-ResNet's residual, ``r + s *
c``, is an Affine behind the convolution and folded into its weight and bias by ``fold_batchnorm``.

Conditions: ``c`` has no other reader, no residual yet and no activation, and the two operands have equal shapes. Where
both operands would do, the later convolution takes the sum: the other is ready by then, so that nothing waits.
"""

from __future__ import annotations

from dataclasses import replace

from inception_fast.graph import ir
from inception_fast.graph.edit import Edit


def fuse_residual(graph: ir.Graph) -> ir.Graph:
    """A graph with an Add only where no convolution can take it."""
    edit = Edit(graph)
    order = {node.name: i for i, node in enumerate(graph.nodes)}
    for node in graph.of_kind(ir.Add):
        assert isinstance(node.op, ir.Add)
        able = [value for value in node.inputs if _refusal(edit, node, value) is None]
        if not able:
            continue
        chosen = max(able, key=lambda value: order[value])
        residual = node.inputs[1] if chosen == node.inputs[0] else node.inputs[0]
        conv = edit.producer(chosen)
        assert isinstance(conv.op, ir.Conv2d)
        segments = tuple(replace(s, relu=node.op.relu, activation=node.op.activation) for s in conv.op.segments)
        edit.put(node.name, replace(conv.op, segments=segments), (conv.inputs[0], residual), conv.origin)
    return edit.finish()


def why_not(graph: ir.Graph) -> tuple[str, ...]:
    """Why each Add of a fused graph is still there, operand by operand."""
    edit = Edit(graph)
    return tuple(
        f"{n.origin or n.name}: " + "; ".join(f"%{value} {_refusal(edit, n, value)}" for value in n.inputs)
        for n in graph.of_kind(ir.Add)
    )


def _refusal(edit: Edit, add: ir.Node, value: str) -> str | None:
    """Why the producer of ``value`` cannot take the addition in."""
    producer = edit.producer(value)
    if not isinstance(producer.op, ir.Conv2d):
        return f"is {producer.op.kind}, not a convolution"
    if len(producer.inputs) > 1:
        return "adds a residual already"
    if not all(s.is_linear for s in producer.op.segments):
        return "has an activation before the sum"
    assert isinstance(add.op, ir.Add)
    if add.op.slope is not None and len(producer.op.segments) > 1:
        return "has several segments, and the activation's slopes are for all of them"
    if not edit.old.is_private(value):
        return "has other readers"
    first, second = (edit.old.shapes[i] for i in add.inputs)
    return None if first == second else f"is {second} against {first}"
