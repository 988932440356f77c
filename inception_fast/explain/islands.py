"""A model that runs in parts, for people: its islands, each with its own way to a Plan, and what is PyTorch's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from inception_fast.backends import Lowering
from inception_fast.explain.summary import Explanation, explain_graph
from inception_fast.graph.capture import Captured
from inception_fast.partition.capture import capture_parts, example_of
from inception_fast.partition.partitioning import describe
from inception_fast.partition.report import Foreign, PartitionReport

ISLAND_COLUMNS = ("island", "from", "to", "reads", "operators", "convolutions", "MMAC")
FOREIGN_COLUMNS = ("PyTorch's operator", "module", "times", "elements", "why")


@dataclass(frozen=True)
class Explained:
    """Attributes:
    islands: name and way to its Plan; one without a name where the model is served as a whole.
    parts: what runs where; None where the model is served as a whole.
    """

    islands: tuple[tuple[str, Explanation], ...]
    parts: PartitionReport | None


def explain(model: nn.Module, example: torch.Tensor, precision: str, lowering: Lowering) -> Explained:
    """Captures a model and lowers what is served of it as a backend with such wishes would have it; nothing is made
    ready to run.

    Args:
        example: as for :func:`inception_fast.optimize`.
    """
    found = capture_parts(model, example_of(model, example))
    if isinstance(found, Captured):
        return Explained((("", explain_graph(found.graph, precision, lowering)),), None)
    report = describe(found, precision)
    graphs = (region.capture(found.constants).graph for region in found.layout.regions)
    islands = tuple(
        (island.name, explain_graph(graph, precision, lowering))
        for island, graph in zip(report.islands, graphs, strict=True)
    )
    return Explained(islands, report)


def island_rows(report: PartitionReport) -> list[tuple[object, ...]]:
    """:data:`ISLAND_COLUMNS` of every island; numbers are per image."""
    return [
        (i.name, *i.modules, i.reads, i.operators, i.convolutions, f"{i.multiply_adds / 1e6:.1f}")
        for i in report.islands
    ]


def foreign_rows(report: PartitionReport) -> list[tuple[object, ...]]:
    """:data:`FOREIGN_COLUMNS`, a row for each operator, module and reason; numbers are per image."""
    together: dict[tuple[str, str, str], list[Foreign]] = {}
    for foreign in report.foreign:
        together.setdefault((foreign.op, foreign.module, foreign.reason), []).append(foreign)
    return [
        (op, module or "-", len(found), sum(f.elements for f in found), reason)
        for (op, module, reason), found in together.items()
    ]
