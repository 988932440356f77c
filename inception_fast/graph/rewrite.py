"""What every pass needs to make a new Graph from an old one."""

from __future__ import annotations

import graphlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace

import torch

from inception_fast.activation import Activation
from inception_fast.graph import ir

LARGEST_HALF = torch.finfo(torch.float16).max
LARGEST_SINGLE = torch.finfo(torch.float32).max


def referenced_params(op: ir.Op) -> set[str]:
    """Names of the parameters that an op reads."""
    return set().union(*(_names(getattr(op, field.name)) for field in fields(op)))


def _names(value: object) -> set[str]:
    """Of the parameters in an op's field."""
    match value:
        case str():
            return {value}
        case ir.Op():
            return referenced_params(value)
        case ir.Segment():
            return _names(value.activation)
        case Activation():
            return _names(value.slope)
        case tuple():
            return set().union(*map(_names, value))
        case _:
            return set()


def overflows(weight: torch.Tensor, scale: torch.Tensor, limit: float = LARGEST_HALF) -> bool:
    """Whether ``weight * scale`` leaves the numbers up to ``limit`` where ``weight`` did not.

    A model's own numbers are what they are; those that only folding makes must be finite in every precision.

    Args:
        weight, scale: float64, of shapes that broadcast.
    """
    largest = weight.abs()
    grown = largest * scale.abs() > largest.clamp_min(limit)
    return bool(scale.isinf().any() or grown.any())


def powers_of_two(scale: torch.Tensor) -> bool:
    """Whether a product with any of ``scale`` rounds nothing."""
    return bool((scale.frexp().mantissa.abs() == 0.5).all())


def shifts_exactly(scale: torch.Tensor, shift: torch.Tensor) -> bool:
    """Whether ``x * scale + shift`` moves its argument and rounds nothing but the result.

    Of numbers close to ``-shift / scale`` it keeps every digit, while sums over weights into which it was folded are
    wrong by the rounding of numbers as large as ``shift``.
    """
    return bool(shift.any()) and powers_of_two(scale)


def moves_input(graph: ir.Graph, node: ir.Node, param: Callable[[str], torch.Tensor]) -> bool:
    """Whether an Affine :func:`shifts_exactly` the network's input, of which nothing is rounded yet.

    Args:
        param: gives a parameter in float64.
    """
    assert isinstance(node.op, ir.Affine)
    return _is_input(graph, node.inputs[0]) and shifts_exactly(param(node.op.scale), param(node.op.shift))


def _is_input(graph: ir.Graph, value: str) -> bool:
    """Whether a value is the network's input, or channels of it in some order."""
    node = graph.by_name.get(value)  # None of what a pass has just made
    if node is not None and isinstance(node.op, ir.Slice | ir.Select | ir.Concat):
        return all(_is_input(graph, source) for source in node.inputs)
    return node is not None and isinstance(node.op, ir.Input)


def rebuild(
    graph: ir.Graph,
    nodes: Iterable[ir.Node],
    *,
    rename: Mapping[str, str] | None = None,
    params: Mapping[str, torch.Tensor] | None = None,
) -> ir.Graph:
    """A Graph of ``nodes``, in topological order, without what no output needs.

    Args:
        graph: gives the outputs and the parameters to start from.
        nodes: in any order; those that no output reaches are dropped, and so are parameters that nobody reads.
        rename: value replaced -> value that takes its place, followed transitively.
        params: parameters to add.
    """
    rename = dict(rename or {})

    def resolve(name: str) -> str:
        while name in rename:
            name = rename[name]
        return name

    table = {n.name: replace(n, inputs=tuple(resolve(i) for i in n.inputs)) for n in nodes}
    outputs = tuple(resolve(o) for o in graph.outputs)

    live = {graph.input.name}
    pending = list(outputs)
    while pending:
        name = pending.pop()
        if name not in live:
            live.add(name)
            pending.extend(table[name].inputs)

    # static_order takes ready nodes in insertion order: the result is deterministic and close to the original order.
    needs = {name: node.inputs for name, node in table.items() if name in live}
    order = graphlib.TopologicalSorter(needs).static_order()
    ordered = tuple(table[name] for name in order)
    ordered = (table[graph.input.name], *(n for n in ordered if n.name != graph.input.name))
    used = set().union(*(referenced_params(n.op) for n in ordered))
    merged = {**graph.params, **(params or {})}
    return ir.Graph(ordered, outputs, {k: v for k, v in merged.items() if k in used})


def fresh_name(base: str, taken: Iterable[str]) -> str:
    """``base``, or ``base_1``, ``base_2`` ... where that is taken."""
    taken = set(taken)
    name, count = base, 0
    while name in taken:
        count += 1
        name = f"{base}_{count}"
    return name
