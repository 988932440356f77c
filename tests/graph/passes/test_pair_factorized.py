import pytest

from inception_fast.graph import ir
from inception_fast.graph.passes.pair_factorized import pair_factorized, why_not
from tests.graph.build import Build
from tests.graph.check import check_pass, kinds


@pytest.mark.parametrize("kernels", [((1, 3), (3, 1)), ((7, 1), (1, 7)), ((1, 2), (5, 1))])
def test_pairs_either_order(kernels: tuple[ir.Pair, ir.Pair]) -> None:
    b = Build(3, 9, 8)
    c = b.conv("x", 4, kernels[0], relu=True, bias=True, name="c")
    y = b.conv(c, 5, kernels[1], relu=True, name="y")
    graph = b.graph(y)
    after = check_pass(pair_factorized, graph)
    (pair,) = after.of_kind(ir.ConvPair)
    assert (pair.name, pair.inputs, pair.origin) == ("y", ("x",), "net.{c, y}")
    assert (pair.op.first, pair.op.second) == (graph.by_name["c"].op, graph.by_name["y"].op)
    assert why_not(after) == ()


def test_padding_that_changes_the_size() -> None:
    b = Build(3, 9, 8)
    c = b.conv("x", 4, (1, 3), padding=(1, 0, 2, 0))
    after = check_pass(pair_factorized, b.graph(b.conv(c, 5, (3, 1), padding=(0, 1, 0, 1))))
    assert kinds(after) == {"Input": 1, "ConvPair": 1}


def test_residual_of_the_second() -> None:
    b = Build(3, 9, 8)
    c = b.conv("x", 4, (1, 3))
    y = b.conv(c, 3, (3, 1), residual=b.maxpool("x", name="r"))
    (pair,) = check_pass(pair_factorized, b.graph(y)).of_kind(ir.ConvPair)
    assert pair.inputs == ("x", "r")


@pytest.mark.parametrize(("length", "pairs", "left"), [(3, 1, 1), (4, 2, 0), (5, 2, 1)])
def test_chain_is_paired_from_the_front(length: int, pairs: int, left: int) -> None:
    b = Build(3, 9, 8)
    value = "x"
    for i in range(length):
        value = b.conv(value, 4 + i, (1, 3) if i % 2 else (3, 1), relu=True, name=f"c{i}")
    after = check_pass(pair_factorized, b.graph(value))
    assert kinds(after) == {k: v for k, v in {"Input": 1, "ConvPair": pairs, "Conv2d": left}.items() if v}
    assert "c1" in after.by_name and ("c3" in after.by_name) == (pairs == 2)


REFUSALS = {
    "read twice": "other readers",
    "output": "other readers",
    "first has residual": "residual",
    "first has segments": "segments",
    "stride of the first": "stride",
    "stride of the second": "stride",
    "same orientation": None,
    "square": None,
    "1x1": None,
    "reads it as residual": None,
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_refuses(kind: str) -> None:
    b = Build(4, 9, 8)
    first = {"square": (3, 3), "1x1": (1, 1)}.get(kind, (1, 3))
    c = b.conv(
        "x",
        (2, 2) if kind == "first has segments" else 4,
        first,
        stride=(1, 2) if kind == "stride of the first" else (1, 1),
        residual="x" if kind == "first has residual" else None,
    )
    y = b.conv(
        "x" if kind == "reads it as residual" else c,
        4,
        (1, 3) if kind == "same orientation" else (3, 1),
        stride=(2, 1) if kind == "stride of the second" else (1, 1),
        residual=c if kind == "reads it as residual" else None,
    )
    graph = b.graph(y, *([b.maxpool(c)] if kind == "read twice" else [c] if kind == "output" else []))
    after = check_pass(pair_factorized, graph)
    assert kinds(after) == kinds(graph)
    reason = REFUSALS[kind]
    assert (reason in why_not(after)[0]) if reason else (why_not(after) == ())
