"""Where a convolution's segments may be written to places of their own."""

from __future__ import annotations

from collections.abc import Iterator

from inception_fast.graph import ir


def segment_slices(graph: ir.Graph, conv: ir.Node) -> tuple[ir.Node, ...] | None:
    """The Slice that reads each segment, in order, where ``conv`` can write every segment to a place of its own.

    That is so where all its readers are Slices, one for each segment and exactly as wide, and the caller never sees
    the value as a whole. Otherwise None: the value must lie in one piece.
    """
    op = conv.op.second if isinstance(conv.op, ir.ConvPair) else conv.op
    if not isinstance(op, ir.Conv2d) or conv.name in graph.outputs:
        return None
    readers = {node.op: node for node in graph.consumers[conv.name]}
    expected = list(_segment_ranges(op))
    if len(graph.consumers[conv.name]) != len(expected) or not all(e in readers for e in expected):
        return None
    return tuple(readers[e] for e in expected)


def _segment_ranges(op: ir.Conv2d) -> Iterator[ir.Slice]:
    start = 0
    for segment in op.segments:
        yield ir.Slice(start, segment.channels)
        start += segment.channels
