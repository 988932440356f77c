"""The passes, each a pure function Graph -> Graph in a file of its own name, and the order they run in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from inception_fast.graph import ir
from inception_fast.graph.passes import (
    commute_avgpool,
    eliminate_concat,
    fold_batchnorm,
    fold_channel_order,
    fold_input_affine,
    fuse_activation,
    fuse_residual,
    merge_siblings,
    pair_factorized,
    read_bytes,
)
from inception_fast.graph.report import PassReport, report_pass
from inception_fast.graph.rewrite import rebuild


class Options(Protocol):
    """Which of the optional passes a backend wants (:class:`inception_fast.backends.base.Lowering`)."""

    @property
    def merge_siblings(self) -> bool: ...
    @property
    def merge_taps(self) -> bool: ...
    @property
    def pair(self) -> bool: ...
    @property
    def fuse_functions(self) -> bool: ...


Pass = Callable[[ir.Graph], ir.Graph]
Explanation = Callable[[ir.Graph], tuple[str, ...]]


@dataclass(frozen=True)
class Stage:
    """What one pass made.

    Attributes:
        name: of the pass.
        left_alone: what it left as it was, and why.
    """

    name: str
    graph: ir.Graph
    left_alone: tuple[str, ...]


def run_passes(graph: ir.Graph, options: Options) -> tuple[ir.Graph, tuple[Stage, ...]]:
    """What the pipeline starts from, and every pass that ran, in order."""
    # Readers that lead to no output would stand in the way of every pass that asks for a single one.
    start = graph = rebuild(graph, graph.nodes)
    stages = []
    for name, run, why_not in _pipeline(options):
        graph = run(graph)
        stages.append(Stage(name, graph, why_not(graph)))
    return start, tuple(stages)


def report_passes(start: ir.Graph, stages: Sequence[Stage]) -> tuple[PassReport, ...]:
    """A report for each pass."""
    before = (start, *(stage.graph for stage in stages))
    return tuple(report_pass(s.name, b, s.graph, s.left_alone) for b, s in zip(before, stages, strict=False))


def optimize_graph(graph: ir.Graph, options: Options) -> tuple[ir.Graph, tuple[PassReport, ...]]:
    """Runs the pipeline.

    Returns:
        The graph ready for lowering, its concats in place, and a report for each pass that ran, in order.
    """
    start, stages = run_passes(graph, options)
    return stages[-1].graph, report_passes(start, stages)


def _pipeline(options: Options) -> Iterator[tuple[str, Pass, Explanation]]:
    yield "fold_batchnorm", fold_batchnorm.fold_batchnorm, fold_batchnorm.why_not
    yield "fold_channel_order", fold_channel_order.fold_channel_order, fold_channel_order.why_not
    yield "read_bytes", read_bytes.read_bytes, read_bytes.why_not
    kinds = (ir.ReLU, ir.Activate) if options.fuse_functions else (ir.ReLU,)
    yield "fuse_activation", partial(fuse_activation.fuse_activation, kinds=kinds), fuse_activation.why_not
    yield "fuse_residual", fuse_residual.fuse_residual, fuse_residual.why_not
    yield "fold_input_affine", fold_input_affine.fold_input_affine, fold_input_affine.why_not
    yield "commute_avgpool", commute_avgpool.commute_avgpool, commute_avgpool.why_not
    if options.merge_siblings:
        merge = partial(merge_siblings.merge_siblings, taps=options.merge_taps)
        yield "merge_siblings", merge, merge_siblings.why_not
    yield "eliminate_concat", eliminate_concat.eliminate_concat, eliminate_concat.why_not
    if options.pair:
        yield "pair_factorized", pair_factorized.pair_factorized, pair_factorized.why_not
