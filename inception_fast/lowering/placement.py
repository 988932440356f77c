"""Where every value of a Graph lives: concats are buffers, and what feeds them is a slice of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from inception_fast.errors import PlanError
from inception_fast.graph import ir
from inception_fast.plan.plan import Buffer, Output, Slice


@dataclass
class Placement:
    """Buffers (arena offsets still unknown) and the slice that holds each value.

    Attributes:
        copies: (value, output slice) for values returned to the caller that live elsewhere.
    """

    graph: ir.Graph
    buffers: list[Buffer] = field(default_factory=list)
    places: dict[str, Slice] = field(default_factory=dict)
    outputs: list[Output] = field(default_factory=list)
    copies: list[tuple[str, Slice]] = field(default_factory=list)

    def plane(self, value: str) -> tuple[int, int, int]:
        """(channels, height, width) of a value; a vector is a 1x1 image."""
        shape = self.graph.shapes[value]
        return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (shape[0], 1, 1)

    def new_buffer(self, name: str, value: str, home: str) -> Slice:
        channels, height, width = self.plane(value)
        self.buffers.append(Buffer(name, height, width, channels, home))  # type: ignore[arg-type]
        return Slice(len(self.buffers) - 1, 0, channels)

    def is_whole_output(self, place: Slice) -> bool:
        buffer = self.buffers[place.buffer]
        return buffer.home == "output" and buffer.channels == place.channels


def is_merged(op: ir.Op) -> bool:
    """True for a convolution whose result exists only as the segments that Slice nodes name."""
    return isinstance(op, ir.Conv2d) and len(op.segments) > 1


def is_segment(graph: ir.Graph, node: ir.Node) -> bool:
    """True for the Slice that names one segment of a merged convolution."""
    return isinstance(node.op, ir.Slice) and is_merged(graph.by_name[node.inputs[0]].op)


def is_view(graph: ir.Graph, node: ir.Node) -> bool:
    """True where the value is another's memory seen differently."""
    return isinstance(node.op, ir.Flatten) or (isinstance(node.op, ir.Slice) and not is_segment(graph, node))


def unflattened(graph: ir.Graph, value: str) -> str:
    """The value that a chain of Flatten nodes looks at."""
    while isinstance(graph.by_name[value].op, ir.Flatten):
        value = graph.by_name[value].inputs[0]
    return value


def place(graph: ir.Graph) -> Placement:
    """Places every value of a Graph that ``eliminate_concat`` has prepared."""
    placement = Placement(graph)
    returned = {unflattened(graph, name) for name in graph.outputs}
    places = placement.places
    # Readers first: a concat has its buffer before the values that are written into it.
    for node in reversed(graph.nodes):
        if is_view(graph, node) or is_merged(node.op):
            continue
        if node.name not in places:
            home = "output" if node.name in returned else "arena"
            home = "input" if isinstance(node.op, ir.Input) else home
            places[node.name] = placement.new_buffer(node.name, node.name, home)
            if isinstance(node.op, ir.Input) and node.op.bytes:
                placement.buffers[-1] = replace(placement.buffers[-1], dtype="uint8")
        if isinstance(node.op, ir.Concat):
            _place_parts(placement, node)
    for node in graph.nodes:
        if is_view(graph, node):
            source = places[node.inputs[0]]
            if isinstance(node.op, ir.Slice):
                source = Slice(source.buffer, source.start + node.op.start, node.op.channels)
            places[node.name] = source
    _place_outputs(placement)
    return placement


def _place_parts(placement: Placement, concat: ir.Node) -> None:
    assert isinstance(concat.op, ir.Concat)
    if not concat.op.in_place:
        raise PlanError(f"{concat.name}: the concat is not in place; eliminate_concat comes before lowering")
    whole = placement.places[concat.name]
    start = whole.start
    for value in concat.inputs:
        channels, *_ = placement.plane(value)
        part = unflattened(placement.graph, value)
        if part in placement.places or placement.plane(part)[0] != channels:
            raise PlanError(f"{concat.name}: {value} cannot be written in place")
        placement.places[part] = Slice(whole.buffer, start, channels)
        start += channels


def _place_outputs(placement: Placement) -> None:
    graph = placement.graph
    whole: dict[str, Slice] = {}
    for name in graph.outputs:
        value = unflattened(graph, name)
        if value not in whole:
            where = placement.places[value]
            if not placement.is_whole_output(where):
                where = placement.new_buffer(f"{value}.output", value, "output")
                placement.copies.append((value, where))
            whole[value] = where
        placement.outputs.append(Output(whole[value].buffer, flat=len(graph.shapes[name]) == 1))
