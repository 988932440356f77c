"""Makes numbers of an input of bytes, with the affine behind it; and moves an affine into the pad behind it.

Before::

    a = Affine(x; s, t)                 # x is the input, whole numbers from 0 to 255
    y = Pad(a; margins, v)

After::

    y = Pad(x; margins, v, s, t)

Algebra: a Pad is ``x * s + t`` inside of its margins, so its own source may be what it was computed from.

Conditions: the affine has no activation; of an affine in front of a pad, nobody else sees its value. What reads the
bytes otherwise reads a Pad without margins, one for all. Nothing else is left to read bytes: a Pad looks each of the
256 up, at no cost beside a copy, so an affine goes there rather than into a convolution.
"""

from __future__ import annotations

from dataclasses import replace

from inception_fast.graph import ir
from inception_fast.graph.edit import Edit

_NO_MARGINS = (0, 0, 0, 0)


def read_bytes(graph: ir.Graph) -> ir.Graph:
    """A graph whose input, where it is bytes, is read by pads alone."""
    edit = Edit(graph)
    source = graph.input
    assert isinstance(source.op, ir.Input)
    if source.op.bytes:
        _read(edit, source.name)
    graph = edit.finish()
    edit = Edit(graph)
    for node in graph.of_kind(ir.Pad):
        assert isinstance(node.op, ir.Pad)
        inner = edit.producer(node.inputs[0])
        vectors = _vectors(inner)
        if vectors is not None and graph.is_private(inner.name) and node.op.scale is None:
            scale, shift = vectors
            edit.put(node.name, replace(node.op, scale=scale, shift=shift), inner.inputs, node.origin)
    return edit.finish()


def why_not(graph: ir.Graph) -> tuple[str, ...]:
    """Nothing stands in its way."""
    return ()


def _read(edit: Edit, source: str) -> None:
    others: list[ir.Node] = []
    for reader in edit.old.consumers[source]:
        if isinstance(reader.op, ir.Affine) and reader.op.is_linear:
            edit.put(reader.name, ir.Pad(_NO_MARGINS, 0.0, reader.op.scale, reader.op.shift), (source,), reader.origin)
        elif not isinstance(reader.op, ir.Pad):
            others.append(reader)
    if others:
        numbers = edit.put(edit.fresh(f"{source}.numbers"), ir.Pad(_NO_MARGINS), (source,), "")
        for reader in others:
            inputs = tuple(numbers if value == source else value for value in reader.inputs)
            edit.put(reader.name, reader.op, inputs, reader.origin)


def _vectors(node: ir.Node) -> tuple[str | None, str | None] | None:
    """Scale and shift of what a Pad could compute itself, whose source it then reads."""
    if isinstance(node.op, ir.Affine) and node.op.is_linear:
        return node.op.scale, node.op.shift
    if isinstance(node.op, ir.Pad) and node.op.padding == _NO_MARGINS:
        return node.op.scale, node.op.shift
    return None
