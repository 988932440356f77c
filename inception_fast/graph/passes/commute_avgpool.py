"""Moves an average pool behind the 1x1 convolution that reads it, where it works on fewer channels.

Before::

    p = AvgPool(x)                      # stride 1, on C_in channels
    y = Conv2d(p; W, b, relu)           # 1x1, C_out <= C_in

After::

    c = Conv2d(x; W)                    # neither bias nor ReLU
    y = AvgPool(c; b, relu)             # on C_out channels

Algebra: the pool is a linear map of the pixels, the same for all channels: ``p[c,q] = sum_r A[q,r] x[c,r]``. The 1x1
convolution is a linear map of the channels, the same for all pixels. So ``sum_c W[o,c] sum_r A[q,r] x[c,r]`` is
``sum_r A[q,r] sum_c W[o,c] x[c,r]``. It holds for every rule of divisor and of ceil mode, since those are in ``A``,
and a padded zero stays zero under ``W``. Bias and ReLU do not commute and come last.

Conditions: pool without bias and ReLU, stride 1, and no smaller than its input, so that the convolution does no more
work; convolutions 1x1, stride 1, without padding and residual, with one activation, a ReLU or none. All readers of the
pool must be such convolutions, with no more than C_in channels between them: were one reader left, the pool would run
as before and the new pools besides.
"""

from __future__ import annotations

from dataclasses import replace

from inception_fast.graph import ir
from inception_fast.graph.conv_kinds import is_plain_1x1
from inception_fast.graph.edit import Edit


def commute_avgpool(graph: ir.Graph) -> ir.Graph:
    """A graph in which average pools come behind 1x1 convolutions where that is less work."""
    while movable := [n for n in graph.of_kind(ir.AvgPool) if _obstacle(graph, n) is None]:
        graph = _commute(graph, movable[-1])
    return graph


def why_not(graph: ir.Graph) -> tuple[str, ...]:
    """Why each average pool in front of a 1x1 convolution is still there."""
    return tuple(
        f"{node.origin or node.name}: {_obstacle(graph, node)}"
        for node in graph.of_kind(ir.AvgPool)
        if any(is_plain_1x1(graph, reader) for reader in graph.consumers[node.name])
    )


def _obstacle(graph: ir.Graph, node: ir.Node) -> str | None:
    op, value, readers = node.op, node.inputs[0], graph.consumers[node.name]
    assert isinstance(op, ir.AvgPool)
    if op.relu or op.bias is not None:
        return "the pool has a bias or a ReLU"
    if op.stride != (1, 1):
        return f"stride {op.stride}: the convolution would work on more pixels"
    (channels, *before), (_, *after) = graph.shapes[value], graph.shapes[node.name]
    if any(a < b for a, b in zip(after, before, strict=True)):
        return "the pool shrinks the image: the convolution would work on more pixels"
    if node.name in graph.outputs:
        return "the pool is an output of the network"
    made = 0
    for reader in readers:
        where = reader.origin or reader.name
        if not is_plain_1x1(graph, reader):
            return f"{where} is not a 1x1 convolution of stride 1, and needs the pool as it is"
        assert isinstance(reader.op, ir.Conv2d)
        if len(reader.op.segments) > 1:
            return f"{where} has several segments"
        if reader.op.segments[0].activation is not None:
            return f"{where} has an activation that a pool has not"
        made += reader.op.channels
    return None if made <= channels else f"its convolutions make {made} channels of {channels}"


def _commute(graph: ir.Graph, node: ir.Node) -> ir.Graph:
    edit = Edit(graph)
    assert isinstance(node.op, ir.AvgPool)
    for reader in graph.consumers[node.name]:
        op = reader.op
        assert isinstance(op, ir.Conv2d)
        linear = replace(op, bias=None, segments=(ir.Segment(op.channels),))
        conv = edit.put(edit.fresh(f"{reader.name}_linear"), linear, node.inputs, reader.origin)
        edit.put(reader.name, replace(node.op, bias=op.bias, relu=op.segments[0].relu), (conv,), node.origin)
    return edit.finish()
