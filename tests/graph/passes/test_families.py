"""The pipeline on the six networks: what each pass makes of them, and that it keeps what they compute."""

from dataclasses import dataclass, replace

import pytest
import torch

from inception_fast.graph import ir
from inception_fast.graph.metrics import measure
from inception_fast.graph.passes import fold_input_affine, merge_siblings, optimize_graph
from inception_fast.graph.passes.commute_avgpool import commute_avgpool
from inception_fast.graph.passes.eliminate_concat import eliminate_concat
from inception_fast.graph.passes.fold_batchnorm import fold_batchnorm
from inception_fast.graph.passes.fuse_activation import fuse_activation
from inception_fast.graph.passes.fuse_residual import fuse_residual
from inception_fast.graph.passes.pair_factorized import pair_factorized
from tests.graph.check import all_values, assert_agree, assert_concats_in_place, assert_same_values, kinds, random_input
from tests.graph.families import FAMILIES, family_graph


@dataclass(frozen=True)
class Options:
    merge_siblings: bool = True
    merge_taps: bool = False
    fuse_functions: bool = True
    pair: bool = True


@dataclass(frozen=True)
class Structure:
    """Counts after the pipeline, from the papers' figures.

    Attributes:
        convolutions: of the network as captured.
        pools: average pools with a 1x1 convolution behind them.
        products: tensors that several 1x1 convolutions read, those moved in front of pools among them.
        siblings: those convolutions.
        crosses: tensors that a 1x3 and a 3x1 read.
        pairs: 1xn convolutions followed by nx1 alone.
        concats: that are no part of another.
    """

    convolutions: int
    pools: int
    products: int
    siblings: int
    crosses: int
    pairs: int
    concats: int


STRUCTURES = {
    "googlenet": Structure(57, 0, 9, 27, 0, 0, 9),
    "inception_v2": Structure(69, 7, 10, 35, 0, 0, 10),
    "inception_v3": Structure(94, 9, 10, 38, 4, 13, 11),
    "inception_v4": Structure(149, 14, 16, 60, 6, 26, 19),
    "inception_resnet_v1": Structure(132, 0, 22, 50, 0, 16, 23),
    "inception_resnet_v2": Structure(244, 1, 42, 97, 0, 30, 43),
}
PASSES = (
    fold_batchnorm,
    fuse_activation,
    fuse_residual,
    fold_input_affine.fold_input_affine,
    commute_avgpool,
    lambda graph: merge_siblings.merge_siblings(graph, taps=True),
    eliminate_concat,
    pair_factorized,
)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_pass_keeps_every_value(family: str) -> None:
    graph = family_graph(family)
    x = random_input(graph, batch=1)
    values = all_values(graph, x)
    for run in PASSES:
        before, truth = graph, values
        graph = run(graph)
        values = all_values(graph, x)
        assert_agree(before, truth, graph, values)


@pytest.mark.parametrize("family", FAMILIES)
def test_structure(family: str) -> None:
    expected = STRUCTURES[family]
    before = family_graph(family)
    assert kinds(before)["Conv2d"] == expected.convolutions
    after, reports = optimize_graph(before, Options())
    count = kinds(after)
    merged = [n for n in after.of_kind(ir.Conv2d) if len(n.op.segments) > 1]
    assert not {"BatchNorm", "Affine", "ReLU", "Add", "Copy"} & count.keys()
    assert (len(merged), count["Slice"]) == (expected.products, expected.siblings)
    assert count["ConvPair"] == expected.pairs
    assert count["Concat"] == expected.concats
    launches = expected.convolutions - expected.siblings + expected.products - expected.pairs
    assert measure(after).convolutions == launches and measure(after).copies == 0
    assert_concats_in_place(after)

    commuted = next(r for r in reports if r.name == "commute_avgpool")
    assert (commuted.after.written < commuted.before.written) == (expected.pools > 0)
    assert sum(p.op.bias is not None for p in after.of_kind(ir.AvgPool)) == expected.pools
    assert all(r.after.multiply_adds == reports[0].before.multiply_adds for r in reports)


@pytest.mark.parametrize("family", ["inception_v3", "inception_v4"])
def test_crosses(family: str) -> None:
    expected = STRUCTURES[family]
    after, _ = optimize_graph(family_graph(family), Options(merge_taps=True))
    crosses = [n for n in after.of_kind(ir.Conv2d) if n.op.taps is not None]
    assert len(crosses) == expected.crosses and all(len(n.op.taps) == 5 for n in crosses)
    assert kinds(after)["ConvPair"] == expected.pairs
    assert measure(after).copies == 0


@pytest.mark.parametrize(("merge", "pair"), [(False, True), (True, False), (False, False)])
def test_optional_passes_can_be_left_out(merge: bool, pair: bool) -> None:
    after, reports = optimize_graph(family_graph("inception_v3"), Options(merge_siblings=merge, pair=pair))
    names = [r.name for r in reports]
    assert ("merge_siblings" in names, "pair_factorized" in names) == (merge, pair)
    assert (kinds(after)["Slice"] > 0, kinds(after)["ConvPair"] > 0) == (merge, pair)
    assert measure(after).copies == 0


def with_input_size(graph: ir.Graph, height: int, width: int) -> ir.Graph:
    """The same network for images of another size."""
    node = graph.input
    assert isinstance(node.op, ir.Input)
    resized = replace(node, op=ir.Input((node.op.shape[0], height, width)))
    return ir.Graph((resized, *graph.nodes[1:]), graph.outputs, graph.params)


@pytest.mark.parametrize(
    ("family", "side", "giga"),
    [
        ("googlenet", 224, 1.50),
        ("inception_v3", 299, 5.71),
        ("inception_v4", 299, 12.25),
        ("inception_resnet_v1", 160, 1.42),
        ("inception_resnet_v2", 299, 13.15),
    ],
)
def test_multiply_adds_are_the_published_ones(family: str, side: int, giga: float) -> None:
    graph, _ = optimize_graph(with_input_size(family_graph(family), side, side), Options())
    assert measure(graph).multiply_adds / 1e9 == pytest.approx(giga, abs=0.006)


def normalised(family: str, scale: float, shift: float) -> ir.Graph:
    """The network with ``scale * x + shift`` in front of it."""
    graph = family_graph(family)
    first, *rest = graph.nodes
    affine = ir.Node("normalise", ir.Affine("scale", "shift"), (first.name,), "normalise")
    readers = [replace(n, inputs=tuple("normalise" if i == first.name else i for i in n.inputs)) for n in rest]
    params = {**graph.params, "scale": torch.full((3,), scale), "shift": torch.full((3,), shift)}
    return ir.Graph((first, affine, *readers), graph.outputs, params)


SUBTRACTION = "subtracts from the input before anything is rounded; sums over folded weights would lose digits"
PADDING = "conv1.conv pads with 3 zeros, which the affine does not move"


@pytest.mark.parametrize(
    ("family", "scale", "why_not"),
    [
        ("inception_v3", 0.458, None),
        ("inception_resnet_v1", 0.458, None),
        ("googlenet", 0.458, PADDING),
        ("inception_v3", 2.0, SUBTRACTION),
    ],
)
def test_input_normalisation(family: str, scale: float, why_not: str | None) -> None:
    before = normalised(family, scale, -1.0)
    after, reports = optimize_graph(before, Options())
    assert_same_values(before, after, batch=1)
    assert kinds(after)["Affine"] == (0 if why_not is None else 1)
    (report,) = (r for r in reports if r.name == "fold_input_affine")
    left_alone = [note for note in report.notes if note.startswith("left alone")]
    assert left_alone == ([] if why_not is None else [f"left alone: normalise: {why_not}"])
