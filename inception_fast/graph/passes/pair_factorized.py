"""Makes one step of a convolution along rows and one along columns, so that what is between them never reaches memory.

Before::

    c = Conv2d(x; W1)                   # 1xn
    y = Conv2d(c; W2)                   # mx1, or the two the other way round; perhaps with a residual

After::

    y = ConvPair(x; first, second)      # the residual, if any, is the second input

Algebra: none; the same two convolutions in the same order. A tile of the result needs a strip of the intermediate that
is ``m - 1`` pixels longer in one direction only, which fits on the chip.

Conditions: ``c`` has no other reader; both have stride 1; the first has one segment and no residual, and no
activation is another than ReLU. In a chain of four
the first two and the last two become pairs: from the front, each convolution joins the one before it if that is free.
"""

from __future__ import annotations

from inception_fast.graph import ir
from inception_fast.graph.conv_kinds import orientation
from inception_fast.graph.edit import Edit, join_origins


def pair_factorized(graph: ir.Graph) -> ir.Graph:
    """A graph in which 1xn convolutions are paired with the nx1 behind them."""
    edit = Edit(graph)
    for node in graph.of_kind(ir.Conv2d):
        first = edit.producer(node.inputs[0])
        if _is_crossed(graph, first, node) and _obstacle(graph, first, node) is None:
            assert isinstance(first.op, ir.Conv2d) and isinstance(node.op, ir.Conv2d)
            inputs = (first.inputs[0], *node.inputs[1:])
            edit.put(node.name, ir.ConvPair(first.op, node.op), inputs, join_origins([first.origin, node.origin]))
    return edit.finish()


def why_not(graph: ir.Graph) -> tuple[str, ...]:
    """Why each 1xn convolution in front of an nx1, or the other way round, is not in a pair with it."""
    notes = []
    for node in graph.of_kind(ir.Conv2d):
        first = graph.by_name[node.inputs[0]]
        if _is_crossed(graph, first, node):
            notes.append(f"{node.origin or node.name}: {_obstacle(graph, first, node)}")
    return tuple(notes)


def _is_crossed(graph: ir.Graph, first: ir.Node, second: ir.Node) -> bool:
    return {orientation(graph, first), orientation(graph, second)} == {"row", "column"}


def _obstacle(graph: ir.Graph, first: ir.Node, second: ir.Node) -> str | None:
    assert isinstance(first.op, ir.Conv2d) and isinstance(second.op, ir.Conv2d)
    if not graph.is_private(first.name):
        return "the convolution in front of it has other readers"
    if len(first.inputs) > 1:
        return "the convolution in front of it adds a residual"
    if len(first.op.segments) > 1:
        return "the convolution in front of it has several segments"
    if any(s.activation for op in (first.op, second.op) for s in op.segments):
        return "one of the two has an activation that pairs have not"
    if not first.op.stride == second.op.stride == (1, 1):
        return "has a stride"
    return None
