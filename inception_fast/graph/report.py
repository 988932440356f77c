"""What a pass did to a Graph, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from inception_fast.graph import ir
from inception_fast.graph.metrics import Metrics, measure


@dataclass(frozen=True)
class PassReport:
    """What one pass did.

    Attributes:
        name: of the pass.
        before, after: the graph in numbers.
        notes: a line each: what changed, then what was left alone and why.
    """

    name: str
    before: Metrics
    after: Metrics
    notes: tuple[str, ...]


def report_pass(name: str, before: ir.Graph, after: ir.Graph, left_alone: tuple[str, ...]) -> PassReport:
    """The report of a pass that made ``after`` of ``before``."""
    left = tuple(f"left alone: {reason}" for reason in left_alone)
    return PassReport(name, measure(before), measure(after), (*_changes(before, after), *left))


def _changes(before: ir.Graph, after: ir.Graph) -> Iterator[str]:
    old, new = (Counter(_label(n.op) for n in g.nodes) for g in (before, after))
    for label in sorted(old | new):
        if old[label] != new[label]:
            yield f"{label}: {old[label]} -> {new[label]}"
    origins = {n.origin for n in before.nodes}
    for node in after.nodes:
        # Only a node made of several has an origin that no node had before.
        if node.origin not in origins:
            yield f"{node.op.kind} of {node.origin}"


def _label(op: ir.Op) -> str:
    return "Concat in place" if op == ir.Concat(in_place=True) else op.kind
