from inception_fast.graph import ir
from inception_fast.graph.metrics import Metrics, measure
from inception_fast.graph.passes.eliminate_concat import eliminate_concat
from inception_fast.graph.passes.merge_siblings import merge_siblings
from inception_fast.graph.passes.pair_factorized import pair_factorized
from tests.graph.build import Build


def test_concat_costs_its_size_and_a_copy_of_each_input_unless_in_place() -> None:
    b = Build(4, 6, 5)
    graph = b.graph(b.concat(b.conv("x", 3, (3, 3)), b.maxpool("x")))
    macs = 3 * 30 * 4 * 9
    assert measure(graph) == Metrics(nodes=4, convolutions=1, multiply_adds=macs, written=(3 + 4 + 7) * 30, copies=2)
    after = measure(eliminate_concat(graph))
    assert after == Metrics(nodes=4, convolutions=1, multiply_adds=macs, written=(3 + 4) * 30, copies=0)


def test_a_copy_that_is_left_counts() -> None:
    b = Build(4, 6, 5)
    after = measure(eliminate_concat(b.graph(b.concat(b.conv("x", 3), "x"))))
    assert (after.written, after.copies) == ((3 + 4) * 30, 1)


def test_strided_convolution_counts_its_outputs() -> None:
    b = Build(4, 6, 5)
    graph = b.graph(b.conv("x", 3, (2, 3), stride=(2, 1), padding=(0, 0, 0, 0)))
    assert measure(graph).multiply_adds == (3 * 3 * 3) * (4 * 2 * 3)


def test_depthwise_convolution_counts_its_window() -> None:
    b = Build(4, 6, 5)
    graph = b.graph(b.node(ir.DepthwiseConv2d(b.param(4, 1, 2, 3), None, (1, 1), (0, 0, 0, 0), (1, 1)), "x"))
    assert measure(graph).multiply_adds == (4 * 5 * 3) * (2 * 3)


def test_pair_is_one_launch_and_writes_its_result_only() -> None:
    b = Build(4, 6, 5)
    graph = b.graph(b.conv(b.conv("x", 3, (1, 3), padding=(0, 0, 0, 0)), 2, (3, 1)))
    after = measure(pair_factorized(graph))
    assert after.multiply_adds == measure(graph).multiply_adds == 6 * 3 * (3 * 4 * 3 + 2 * 3 * 3)
    assert (after.convolutions, after.written) == (1, 2 * 18)


def test_cross_counts_its_taps_and_slices_nothing() -> None:
    b = Build(4, 6, 5)
    graph = b.graph(b.conv("x", 3, (1, 3)), b.conv("x", 2, (3, 1)))
    after = measure(merge_siblings(graph, taps=True))
    assert (after.nodes, after.convolutions, after.multiply_adds, after.written) == (4, 1, 30 * 5 * 4 * 5, 5 * 30)


def test_linear_and_views() -> None:
    b = Build(4, 6, 5)
    graph = b.graph(b.linear(b.flat("x"), 7))
    assert measure(graph) == Metrics(nodes=4, convolutions=0, multiply_adds=28, written=4 + 7, copies=0)
    assert measure(b.graph(b.node(ir.Copy(), "x"))).copies == 1
