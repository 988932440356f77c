from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from inception_fast.graph import ir
from inception_fast.graph.passes.fold_channel_order import fold_channel_order, why_not
from inception_fast.graph.rewrite import LARGEST_HALF
from tests.graph.build import Build
from tests.graph.check import check_pass, kinds

UNPADDED = (0, 0, 0, 0)


def _selected(b: Build, *channels: int, of: str = "x") -> str:
    return b.node(ir.Select(channels), of)


@pytest.mark.parametrize("channels", [(2, 1, 0), (1, 2, 0), (0, 0, 0), (1, 0, 1, 1, 2), (2, 1), (2, 2)])
def test_convolutions_take_channels_as_they_come(channels: tuple[int, ...]) -> None:
    b = Build(3, 9, 7)
    s = _selected(b, *channels)
    after = check_pass(fold_channel_order, b.graph(b.conv(s, 4, (3, 2), bias=True), b.conv(s, 2)))
    whole = set(channels) == {0, 1, 2}
    assert kinds(after) == {"Input": 1, "Conv2d": 2, **({} if whole else {"Slice": 2})}
    assert why_not(after) == ()


def test_weights_only_change_places() -> None:
    b = Build(3, 5, 5)
    before = b.graph(b.conv(_selected(b, 2, 0, 1), 4))
    after = fold_channel_order(before)
    (old,), (new,) = (graph.of_kind(ir.Conv2d) for graph in (before, after))
    assert torch.equal(after.params[new.op.weight][:, [2, 0, 1]], before.params[old.op.weight].double())


BETWEEN: dict[str, Callable[[Build, str], str]] = {
    "affine": lambda b, x: b.affine(x),
    "affine and relu": lambda b, x: b.affine(x, relu=True),
    "two affines": lambda b, x: b.affine(b.affine(x)),
    "max pool": lambda b, x: b.maxpool(x),
    "average pool": lambda b, x: b.avgpool(x),
    "resize": lambda b, x: b.node(ir.Resize((5, 6), False), x),
    "relu": lambda b, x: b.relu(x),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_what_computes_on_each_channel_changes_places_with_it(name: str) -> None:
    b = Build(4, 9, 7)
    before = b.graph(b.conv(BETWEEN[name](b, _selected(b, 3, 1, 0, 2)), 5, (3, 3)))
    after = check_pass(fold_channel_order, before)
    del (expected := kinds(before))["Select"]
    assert kinds(after) == expected


def test_a_bias_for_each_channel_stays_where_it_is() -> None:
    b = Build(4, 9, 7)
    pool = b.avgpool(_selected(b, 3, 1, 0, 2))
    nodes = [replace(n, op=replace(n.op, bias=b.param(4))) if n.name == pool else n for n in b.nodes]
    b.nodes[:] = nodes
    after = check_pass(fold_channel_order, b.graph(b.conv(pool, 5)))
    assert kinds(after)["Concat"] == 1 and next(iter(after.of_kind(ir.AvgPool))).inputs == tuple(
        n.name for n in after.of_kind(ir.Concat)
    )


def test_what_is_added_to_a_convolution_stays_as_it_is() -> None:
    b = Build(3, 9, 7)
    after = check_pass(fold_channel_order, b.graph(b.conv(_selected(b, 2, 1, 0), 3, residual=b.relu("x"))))
    (conv,) = after.of_kind(ir.Conv2d)
    assert conv.inputs == ("x", *(n.name for n in after.of_kind(ir.ReLU))) and "Concat" not in kinds(after)


@pytest.mark.parametrize("kind", ["output", "residual", "pool", "repeated before an affine", "gap", "overflow"])
def test_becomes_a_concat_of_slices_elsewhere(kind: str) -> None:
    b = Build(4, 9, 7)
    made = {
        "output": lambda: _selected(b, 1, 0, 3, 2),
        "residual": lambda: b.conv("x", 4, residual=_selected(b, 1, 0, 3, 2)),
        "pool": lambda: b.maxpool(_selected(b, 1, 0, 3, 2)),
        "repeated before an affine": lambda: b.conv(b.affine(_selected(b, 0, 0, 1)), 3),
        "gap": lambda: b.conv(_selected(b, 3, 0), 3),
        "overflow": lambda: b.conv(_selected(b, 1, 1), 3),
    }
    graph = b.graph(made[kind]())
    if kind == "overflow":
        weights = {
            n.op.weight: torch.full_like(graph.params[n.op.weight], LARGEST_HALF) for n in graph.of_kind(ir.Conv2d)
        }
        graph = ir.Graph(graph.nodes, graph.outputs, {**graph.params, **weights})
    after = check_pass(fold_channel_order, graph)
    assert kinds(after)["Concat"] == 1 and kinds(after)["Select"] == 0


def test_neighbours_are_one_slice() -> None:
    b = Build(4, 3, 3)
    after = check_pass(fold_channel_order, b.graph(_selected(b, 2, 3, 0, 1)))
    assert [n.op for n in after.of_kind(ir.Slice)] == [ir.Slice(2, 2), ir.Slice(0, 2)]
