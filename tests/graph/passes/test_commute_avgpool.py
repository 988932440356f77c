import pytest

from inception_fast.graph import ir
from inception_fast.graph.passes.commute_avgpool import commute_avgpool, why_not
from tests.graph.build import Build
from tests.graph.check import check_pass, kinds


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("include_pad", [True, False])
def test_convolution_comes_first(include_pad: bool, bias: bool, relu: bool) -> None:
    b = Build(6, 7, 5)
    p = b.avgpool("x", include_pad=include_pad, name="p")
    y = b.conv(p, 4, bias=bias, relu=relu, name="y")
    after = check_pass(commute_avgpool, b.graph(y))
    conv, pool = after.nodes[1:]
    assert conv.inputs == ("x",) and conv.op.bias is None and conv.op.segments == (ir.Segment(4),)
    assert (pool.name, pool.inputs, pool.op.relu) == ("y", (conv.name,), relu)
    assert (pool.op.bias is not None) == bias
    assert (conv.origin, pool.origin) == ("net.y", "net.p")
    assert why_not(after) == ()


@pytest.mark.parametrize("ceil_mode", [True, False])
@pytest.mark.parametrize("include_pad", [True, False])
@pytest.mark.parametrize(("kernel", "padding"), [((5, 3), (2, 1)), ((2, 2), (1, 1)), ((1, 3), (0, 1))])
def test_every_window_and_rule(kernel: ir.Pair, padding: ir.Pair, include_pad: bool, ceil_mode: bool) -> None:
    b = Build(6, 7, 9)
    p = b.node(ir.AvgPool(kernel, (1, 1), padding, ceil_mode, include_pad), "x")
    after = check_pass(commute_avgpool, b.graph(b.conv(p, 5, bias=True, relu=True)))
    assert [n.op.kind for n in after.nodes] == ["Input", "Conv2d", "AvgPool"]


def test_all_readers_move() -> None:
    b = Build(6, 7, 5)
    p = b.avgpool("x")
    after = check_pass(commute_avgpool, b.graph(b.conv(p, 4, relu=True), b.conv(p, 2, bias=True)))
    assert [n.op.kind for n in after.nodes].count("AvgPool") == 2
    assert all(n.inputs == ("x",) for n in after.of_kind(ir.Conv2d))


def test_convolution_moves_in_front_of_several_pools() -> None:
    b = Build(6, 7, 5)
    p = b.avgpool("x")
    after = check_pass(commute_avgpool, b.graph(b.conv(b.avgpool(p), 2, bias=True), b.conv(p, 4)))
    assert all(n.inputs == ("x",) for n in after.of_kind(ir.Conv2d))
    assert kinds(after) == {"Input": 1, "Conv2d": 2, "AvgPool": 3}


REFUSALS = {
    "wider than the input": "7 channels of 6",
    "wider together": "8 channels of 6",
    "output": "output",
    "other reader": "not a 1x1",
    "3x3 besides": "not a 1x1",
    "3x3 of no padding besides": "not a 1x1",
    "residual": "not a 1x1",
    "stride of the convolution": "not a 1x1",
    "padded": "not a 1x1",
    "segments": "segments",
    "stride of the pool": "stride (2, 1)",
    "shrinking pool": "shrinks",
    "pool with bias": "bias",
    "pool with ReLU": "ReLU",
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_refuses(kind: str) -> None:
    b = Build(6, 7, 5)
    if kind == "stride of the pool":
        p = b.node(ir.AvgPool((3, 3), (2, 1), (1, 1)), "x")
    elif kind == "shrinking pool":
        p = b.node(ir.AvgPool((3, 3), (1, 1), (1, 0)), "x")
    elif kind == "pool with bias":
        p = b.node(ir.AvgPool((3, 3), (1, 1), (1, 1), bias=b.param(6)), "x")
    elif kind == "pool with ReLU":
        p = b.node(ir.AvgPool((3, 3), (1, 1), (1, 1), relu=True), "x")
    else:
        p = b.avgpool("x")
    outputs = [b.conv(p, 7 if kind == "wider than the input" else (2, 2) if kind == "segments" else 4)]
    more = {
        "wider together": lambda: b.conv(p, 4),
        "output": lambda: p,
        "other reader": lambda: b.maxpool(p),
        "3x3 besides": lambda: b.conv(p, 2, (3, 3)),
        "3x3 of no padding besides": lambda: b.conv(p, 2, (3, 3), padding=(0, 0, 0, 0)),
        "residual": lambda: b.conv(p, 6, residual="x"),
        "stride of the convolution": lambda: b.conv(p, 2, stride=(1, 2)),
        "padded": lambda: b.conv(p, 2, padding=(1, 0, 0, 0)),
    }
    if kind in more:
        outputs.append(more[kind]())
    graph = b.graph(*outputs)
    after = check_pass(commute_avgpool, graph)
    assert [n.op for n in after.nodes] == [n.op for n in graph.nodes]
    assert REFUSALS[kind] in why_not(after)[0]


def test_pool_that_no_1x1_reads_is_not_mentioned() -> None:
    b = Build(6, 7, 5)
    after = check_pass(commute_avgpool, b.graph(b.conv(b.avgpool("x"), 2, (3, 3))))
    assert kinds(after)["AvgPool"] == 1 and why_not(after) == ()
