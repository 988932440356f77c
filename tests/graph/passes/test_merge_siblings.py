import pytest
import torch

from inception_fast.graph import ir
from inception_fast.graph.passes.merge_siblings import merge_siblings, why_not
from inception_fast.graph.segments import segment_slices
from tests.graph.build import Build
from tests.graph.check import check_pass, kinds


def test_1x1_convolutions_of_one_tensor_become_one() -> None:
    b = Build(4, 7, 5)
    names = (b.conv("x", 3, relu=True, name="a"), b.conv("x", 2, bias=True), b.conv("x", 5, bias=True, relu=True))
    after = check_pass(merge_siblings, b.graph(b.concat(*names)))
    assert kinds(after) == {"Input": 1, "Conv2d": 1, "Slice": 3, "Concat": 1}
    (conv,) = after.of_kind(ir.Conv2d)
    assert conv.op.segments == (ir.Segment(3, True), ir.Segment(2), ir.Segment(5, True))
    assert conv.origin == "net.{a, " + ", ".join(names[1:]) + "}"
    bias = after.params[conv.op.bias]
    assert conv.op.taps is None and after.params[conv.op.weight].dtype == bias.dtype == torch.float64
    assert bias[:3].count_nonzero() == 0 and bias[3:].count_nonzero() == 7
    assert tuple(s.name for s in segment_slices(after, conv)) == names


def test_no_bias_anywhere_means_none() -> None:
    b = Build(4, 7, 5)
    after = check_pass(merge_siblings, b.graph(b.conv("x", 3), b.conv("x", 2)))
    assert [n.op.bias for n in after.of_kind(ir.Conv2d)] == [None]


def test_each_tensor_has_its_own_product() -> None:
    b = Build(4, 7, 5)
    p = b.maxpool("x")
    after = check_pass(merge_siblings, b.graph(*(b.conv(v, 3) for v in ("x", p, "x", p, "x"))))
    assert sorted(n.op.channels for n in after.of_kind(ir.Conv2d)) == [6, 9]


def test_result_may_be_an_output_and_a_residual() -> None:
    b = Build(4, 7, 5)
    c, d = b.conv("x", 4), b.conv("x", 4)
    after = check_pass(merge_siblings, b.graph(c, b.conv(d, 4, residual=c)))
    assert kinds(after)["Conv2d"] == 2


@pytest.mark.parametrize("kind", ["stride", "padding", "residual", "segments", "3x3", "3x3 of no padding", "only one"])
def test_refuses(kind: str) -> None:
    b = Build(4, 7, 5)
    other = {
        "stride": lambda: b.conv("x", 3, stride=(2, 1)),
        "padding": lambda: b.conv("x", 3, padding=(0, 0, 1, 0)),
        "residual": lambda: b.conv("x", 4, residual="x"),
        "segments": lambda: b.conv("x", (1, 2)),
        "3x3": lambda: b.conv("x", 3, (3, 3)),
        "3x3 of no padding": lambda: b.conv("x", 3, (3, 3), padding=(0, 0, 0, 0)),
        "only one": lambda: b.maxpool("x"),
    }
    graph = b.graph(b.conv("x", 2), other[kind]())
    after = check_pass(merge_siblings, graph)
    assert kinds(after) == kinds(graph)
    assert len(why_not(after)) == (kind in ("stride", "padding", "residual"))


def test_cross_of_1x3_and_3x1() -> None:
    b = Build(4, 7, 5)
    row, column = b.conv("x", 3, (1, 3), relu=True), b.conv("x", 2, (3, 1), bias=True)
    graph = b.graph(b.concat(row, column))
    assert kinds(check_pass(merge_siblings, graph)) == kinds(graph)
    after = check_pass(merge_siblings, graph, taps=True)
    (conv,) = after.of_kind(ir.Conv2d)
    assert conv.op.taps == ((0, 1), (1, 0), (1, 1), (1, 2), (2, 1))
    assert conv.op.padding == (1, 1, 1, 1)
    weight = after.params[conv.op.weight]
    window = {(r, c) for r in range(3) for c in range(3)}
    assert all(weight[:, :, r, c].count_nonzero() == 0 for r, c in window - set(conv.op.taps))


@pytest.mark.parametrize(
    ("kernels", "paddings", "stride"),
    [
        (((1, 7), (7, 1)), (None, None), (1, 1)),
        (((1, 5), (3, 1)), (None, None), (2, 1)),
        (((1, 3), (3, 1)), (None, None), (2, 2)),
        (((1, 2), (4, 1)), ((0, 0, 0, 1), (3, 0, 0, 0)), (1, 1)),  # even kernels that look ahead and back
        (((3, 1), (1, 3)), ((2, 0, 1, 0), (1, 2, 0, 0)), (1, 1)),  # larger images than the input's
        (((1, 3), (1, 5)), (None, None), (1, 1)),
    ],
)
def test_union_of_taps(kernels: tuple, paddings: tuple, stride: ir.Pair) -> None:
    b = Build(3, 9, 11)
    names = [b.conv("x", 2, k, padding=p, stride=stride) for k, p in zip(kernels, paddings, strict=True)]
    graph = b.graph(*names)
    if graph.shapes[names[0]] != graph.shapes[names[1]]:
        pytest.fail("the case is not one of siblings")
    after = check_pass(merge_siblings, graph, taps=True)
    (conv,) = after.of_kind(ir.Conv2d)
    assert min(conv.op.padding) >= 0


def test_1x1_convolutions_stay_out_of_the_cross() -> None:
    b = Build(4, 7, 5)
    graph = b.graph(*(b.conv("x", 2, k) for k in ((1, 1), (1, 3), (3, 1), (1, 1), (3, 3))))
    assert kinds(check_pass(merge_siblings, graph, taps=True))["Conv2d"] == 3


@pytest.mark.parametrize("kind", ["stride", "dilation", "size", "residual"])
def test_arms_of_the_cross_must_agree(kind: str) -> None:
    b = Build(4, 7, 7)
    options = {
        "stride": {"stride": (1, 2), "padding": (1, 3, 1, 4)},
        "dilation": {"dilation": (2, 1)},
        "size": {"padding": (0, 0, 1, 0)},
        "residual": {"residual": "x"},
    }
    graph = b.graph(b.conv("x", 4, (1, 3)), b.conv("x", 4, (3, 1), **options[kind]))
    assert kinds(check_pass(merge_siblings, graph, taps=True)) == kinds(graph)


def test_a_lone_convolution_needs_no_reason() -> None:
    b = Build(4, 7, 5)
    assert why_not(b.graph(b.conv("x", 4, stride=(2, 2)))) == ()


def test_a_tensor_that_is_added_is_not_read_by_a_1x1_convolution() -> None:
    b = Build(4, 7, 5)
    graph = b.graph(b.conv("x", 4), b.conv(b.maxpool("x"), 4, residual="x"))
    assert why_not(graph) == ()
