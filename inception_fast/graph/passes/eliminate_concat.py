"""Lets every branch write its channels straight into the block's output, so that concatenation costs nothing.

Before::

    i = Concat(a, b)                    # read by nobody else
    y = Concat(x, i, x)

After::

    x' = Copy(x)
    y = Concat(x, a, b, x', in_place)

Algebra: concatenation is associative, and in NHWC an input of a concat along channels is a slice of every pixel of
the result, which its producer can write instead of a tensor of its own. A concat of one tensor is that tensor.

Conditions, which the result satisfies for every Concat (lowering relies on it): every Concat is ``in_place``, and
each of its inputs is a value

* written by one step to one place: any op but Input, Concat, Flatten and Slice, or a Slice that is exactly one
  segment of a convolution all of whose segments are read so (:func:`inception_fast.graph.segments.segment_slices`);
* that is the input of one Concat, once.

Where that does not hold a Copy is put between. Of several uses the first, in topological order, is the one in place.
A value in a concat may have any other readers, and may be an output of the graph, as may the concat: a reader finds
the value in its slice, and the caller's tensor is written from there.
"""

from __future__ import annotations

from inception_fast.graph import ir
from inception_fast.graph.edit import Edit
from inception_fast.graph.segments import segment_slices


def eliminate_concat(graph: ir.Graph) -> ir.Graph:
    """A graph whose concats are all in place."""
    graph = _flatten(graph)
    edit = Edit(graph)
    placed: set[str] = set()
    for node in graph.of_kind(ir.Concat):
        inputs = []
        for value in node.inputs:
            if _refusal(graph, placed, value) is None:
                inputs.append(value)
            else:
                inputs.append(edit.put(edit.fresh(f"{value}_copy"), ir.Copy(), (value,), graph.by_name[value].origin))
            placed.add(inputs[-1])
        edit.put(node.name, ir.Concat(in_place=True), tuple(inputs), node.origin)
    return edit.finish()


def why_not(graph: ir.Graph) -> tuple[str, ...]:
    """Why each input of a concat that is copied could not be written in place."""
    notes = []
    for node in graph.of_kind(ir.Copy):
        value = node.inputs[0]
        in_place = {i for concat in graph.of_kind(ir.Concat) for i in concat.inputs}
        notes.append(f"%{value} is copied: {_refusal(graph, in_place, value)}")
    return tuple(notes)


def _flatten(graph: ir.Graph) -> ir.Graph:
    """Concats of private concats made one; concats of one tensor removed."""
    edit = Edit(graph)
    for node in graph.of_kind(ir.Concat):
        inputs: list[str] = []
        for value in node.inputs:
            inner = edit.producer(value)
            nested = isinstance(inner.op, ir.Concat) and graph.is_private(value)
            inputs.extend(inner.inputs if nested else (value,))
        if len(inputs) == 1:
            edit.alias(node.name, inputs[0])
        else:
            edit.put(node.name, node.op, tuple(inputs), node.origin)
    return edit.finish()


def _refusal(graph: ir.Graph, placed: set[str], value: str) -> str | None:
    """Why ``value`` cannot be written straight into a concat."""
    if value in placed:
        return "it lies in a concat already"
    producer = graph.by_name[value]
    match producer.op:
        case ir.Input():
            return "it is the caller's tensor"
        case ir.Concat() | ir.Flatten():
            return f"no single step writes a {producer.op.kind}"
        case ir.Slice():
            slices = segment_slices(graph, graph.by_name[producer.inputs[0]]) or ()
            return None if producer in slices else "it is part of a tensor that is read as a whole"
        case _:
            return None
