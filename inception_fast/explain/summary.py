"""What became of a model, in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch

from inception_fast.backends import Lowering
from inception_fast.explain.labels import channels, epilogue, headline, planes
from inception_fast.graph.ir import Graph
from inception_fast.graph.metrics import Metrics
from inception_fast.graph.passes import optimize_graph
from inception_fast.graph.report import PassReport
from inception_fast.lowering.lower import lower
from inception_fast.plan.cost import elements_written, item_size, operations
from inception_fast.plan.engine_file import PRECISIONS
from inception_fast.plan.memory import lifetimes, lower_bound
from inception_fast.plan.plan import ConvStep, PairStep, Plan, Slice, destinations_of

PASS_COLUMNS = ("pass", "convolutions", "GMAC", "MB written", "copies", "nodes")
STEP_COLUMNS = ("stage", "step", "what", "image", "channels", "epilogue", "writes", "MMAC", "kB written")


@dataclass(frozen=True)
class Explanation:
    """A model's way to its Plan.

    Attributes:
        passes: what each changed, in order.
    """

    plan: Plan
    passes: tuple[PassReport, ...]


def explain_graph(captured: Graph, precision: str, lowering: Lowering) -> Explanation:
    """Lowers a captured network as a backend with such wishes would have it; nothing is made ready to run."""
    graph, passes = optimize_graph(captured, lowering)
    plan, _ = lower(graph, PRECISIONS[precision])
    return Explanation(plan, passes)


def pass_rows(explained: Explanation) -> list[tuple[str | None, ...]]:
    """:data:`PASS_COLUMNS` of the captured graph and after each pass; None where a pass leaves a number as it was."""
    unit = item_size(explained.plan.dtype) / 1e6
    before = _numbers(explained.passes[0].before, unit)
    rows: list[tuple[str | None, ...]] = [("captured", *before)]
    for report in explained.passes:
        after = _numbers(report.after, unit)
        rows.append((report.name, *(None if a == b else a for a, b in zip(after, before, strict=True))))
        before = after
    return rows


def _numbers(metrics: Metrics, unit: float) -> tuple[str, ...]:
    work, written = f"{metrics.multiply_adds / 1e9:.3f}", f"{metrics.written * unit:.2f}"
    return (str(metrics.convolutions), work, written, str(metrics.copies), str(metrics.nodes))


def step_rows(plan: Plan) -> list[tuple[object, ...]]:
    """:data:`STEP_COLUMNS` of every step, per image."""
    stage_of = {i: number for number, stage in enumerate(plan.stages) for i in stage}
    return [
        (
            stage_of[i],
            step.name,
            headline(plan, step),
            planes(plan, step),
            channels(step),
            epilogue(step),
            ", ".join(_place(plan, d.slice) for d in destinations_of(step)),
            f"{operations(plan, step) / 2e6:.1f}" if isinstance(step, ConvStep | PairStep) else None,
            f"{elements_written(plan, step) * item_size(plan.dtype) / 1e3:.0f}",
        )
        for i, step in enumerate(plan.steps)
    ]


def _place(plan: Plan, piece: Slice) -> str:
    buffer = plan.buffers[piece.buffer]
    if piece.channels == buffer.channels:
        return buffer.name
    return f"{buffer.name}[{piece.start}:{piece.start + piece.channels}]"


def facts(plan: Plan) -> list[str]:
    """A Plan in a few sentences."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(s.kind for s in plan.steps).items())
    unit = item_size(plan.dtype) / 2**20
    written = sum(elements_written(plan, step) for step in plan.steps)
    sizes = {i: b.size for i, b in enumerate(plan.buffers) if b.home == "arena"}
    least = lower_bound(sizes, lifetimes(plan.steps, plan.stages))
    pieces = [d.slice for step in plan.steps for d in destinations_of(step)]
    shared = Counter(p.buffer for p in pieces if p.channels < plan.buffers[p.buffer].channels)
    weights = sum(torch.Size(c.shape).numel() * item_size(c.dtype) for c in plan.constants.values())
    return [
        f"{len(plan.steps)} steps ({kinds}) in {len(plan.stages)} stages of up to {max(map(len, plan.stages))} steps",
        f"{len(shared)} concats are buffers written in place, in {shared.total()} slices",
        f"{written * unit:.2f} MiB of activations are written, into an arena of {plan.arena * unit:.2f} MiB, of which "
        f"{least * unit:.2f} MiB are in use at once; weights take {weights / 2**20:.2f} MiB",
    ]


def caption(explained: Explanation) -> str:
    """One line under the picture's title."""
    plan, before, after = explained.plan, explained.passes[0].before, explained.passes[-1].after
    unit = item_size(plan.dtype) / 1e6
    return (
        f"{len(plan.steps)} steps in {len(plan.stages)} stages · convolutions {before.convolutions} → "
        f"{after.convolutions} · copies {before.copies} → {after.copies} · written per image "
        f"{before.written * unit:.1f} → {after.written * unit:.1f} MB"
    )
