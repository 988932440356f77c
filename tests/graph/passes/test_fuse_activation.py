from functools import partial

import pytest

from inception_fast.activation import Activation
from inception_fast.graph import ir
from inception_fast.graph.passes.fuse_activation import fuse_activation, why_not
from tests.graph.build import Build
from tests.graph.check import check_pass, kinds


@pytest.mark.parametrize("kind", ["conv", "segments", "residual", "linear", "add", "affine", "avgpool"])
def test_fuses_into(kind: str) -> None:
    b = Build(4, 7, 5)
    make = {
        "conv": lambda: b.conv("x", 6, (3, 3), bias=True),
        "segments": lambda: b.conv("x", (2, 3)),
        "residual": lambda: b.conv("x", 4, residual="x"),
        "linear": lambda: b.linear(b.flat("x"), 9),
        "add": lambda: b.add("x", b.maxpool("x")),
        "affine": lambda: b.affine("x"),
        "avgpool": lambda: b.avgpool("x", include_pad=False),
    }
    produced = make[kind]()
    y = b.relu(produced, name="y")
    after = check_pass(fuse_activation, b.graph(y))
    assert kinds(after)["ReLU"] == 0 and len(after.nodes) == len(b.nodes) - 1
    assert after.by_name["y"].origin == f"net.{produced}"
    assert why_not(after) == ()


@pytest.mark.parametrize("kind", ["pool", "read twice", "output"])
def test_stays_where_nothing_can_take_it(kind: str) -> None:
    b = Build(4, 7, 5)
    c = b.conv("x", 4)
    y = b.relu(b.maxpool(c) if kind == "pool" else c)
    outputs = {"read twice": (b.add(y, c),), "output": (y, c)}.get(kind, (y,))
    after = check_pass(fuse_activation, b.graph(*outputs))
    assert kinds(after)["ReLU"] == 1
    assert ("MaxPool" if kind == "pool" else "other readers") in why_not(after)[0]


def test_relu_of_relu_is_one() -> None:
    b = Build(4, 7, 5)
    y = b.relu(b.relu(b.relu(b.conv("x", 3))))
    assert kinds(check_pass(fuse_activation, b.graph(y))) == {"Input": 1, "Conv2d": 1}


def test_relu_of_an_activated_value_with_other_readers_is_that_value() -> None:
    b = Build(4, 7, 5)
    c = b.conv("x", 4, relu=True)
    y = b.relu(c)
    after = check_pass(fuse_activation, b.graph(b.add(y, "x"), c, y))
    assert kinds(after) == {"Input": 1, "Conv2d": 1, "Add": 1}
    assert after.outputs[1:] == (c, c)


def test_moves_in_front_of_a_concat() -> None:
    b = Build(4, 7, 5)
    y = b.relu(b.concat(b.conv("x", 3), b.maxpool("x"), b.concat(b.conv("x", 2), b.conv("x", 1))))
    after = check_pass(fuse_activation, b.graph(y))
    assert kinds(after) == {"Input": 1, "Conv2d": 3, "MaxPool": 1, "ReLU": 1, "Concat": 2}
    assert all(s.relu for n in after.of_kind(ir.Conv2d) for s in n.op.segments)


def test_activated_inputs_of_a_concat_are_left_alone() -> None:
    b = Build(4, 7, 5)
    c, d = b.conv("x", 3, relu=True, name="c"), b.conv("x", 3, name="d")
    after = check_pass(fuse_activation, b.graph(b.relu(b.concat(c, d))))
    assert kinds(after) == {"Input": 1, "Conv2d": 2, "Concat": 1}
    assert "c" in after.by_name and "d" not in after.by_name


def test_a_concat_needs_a_relu_only_of_what_is_not_activated() -> None:
    b = Build(4, 7, 5)
    after = check_pass(fuse_activation, b.graph(b.relu(b.concat(b.relu(b.maxpool("x")), b.maxpool("x")))))
    assert kinds(after) == {"Input": 1, "MaxPool": 2, "ReLU": 2, "Concat": 1}
    assert [n.op.kind for n in after.nodes][-1] == "Concat"


def test_relu_of_a_concat_of_activated_values_is_the_concat() -> None:
    b = Build(4, 7, 5)
    c = b.conv("x", 3)
    first = b.relu(b.concat(c, b.maxpool("x")))
    outer = b.relu(b.concat(b.relu(first), first))
    after = check_pass(fuse_activation, b.graph(outer, c))
    assert kinds(after) == {"Input": 1, "Conv2d": 1, "MaxPool": 1, "Concat": 2, "ReLU": 1}
    assert [n.op.kind for n in after.nodes][-1] == "Concat"


@pytest.mark.parametrize("kind", ["shared input", "twice in the concat", "shared concat", "only pools"])
def test_stays_behind_the_concat(kind: str) -> None:
    b = Build(4, 7, 5)
    c, p = b.conv("x", 4), b.maxpool("x")
    if kind == "only pools":
        cat = b.concat(p, b.maxpool(c))
    else:
        cat = b.concat(c, p, c) if kind == "twice in the concat" else b.concat(c, p)
    y = b.relu(cat)
    outputs = {"shared input": (y, c), "shared concat": (y, cat)}.get(kind, (y,))
    after = check_pass(fuse_activation, b.graph(*outputs))
    assert kinds(after) == kinds(b.graph(*outputs))
    assert len(why_not(after)) == 1


@pytest.mark.parametrize("activation", [Activation("silu"), Activation("clamp", -1.0, 1.0)])
def test_functions_one_after_the_other_over_a_concat(activation: Activation) -> None:
    """The first leaves values in the concat that the graph before it has not."""
    b = Build(4, 7, 5)
    prelu = b.node(ir.Activate(Activation("prelu", slope=b.param(4))), "x")
    joined = b.concat(b.relu(b.conv("x", 3)), prelu)
    after = check_pass(fuse_activation, b.graph(b.node(ir.Activate(activation), b.relu(joined))))
    assert kinds(after)["Concat"] == 1 and kinds(after)["Conv2d"] == 1


@pytest.mark.parametrize("kind", ["conv", "depthwise", "linear", "add", "affine"])
def test_other_functions_fuse_into(kind: str) -> None:
    b = Build(4, 7, 5)
    make = {
        "conv": lambda: b.conv("x", 4, (3, 3), bias=True, residual="x"),
        "depthwise": lambda: b.node(ir.DepthwiseConv2d(b.param(4, 1, 3, 3), None, (1, 1), (1, 1, 1, 1), (1, 1)), "x"),
        "linear": lambda: b.linear(b.flat("x"), 4),
        "add": lambda: b.add("x", b.maxpool("x")),
        "affine": lambda: b.affine("x"),
    }
    produced = make[kind]()
    y = b.node(ir.Activate(Activation("prelu", slope=b.param(4))), produced, name="y")
    after = check_pass(fuse_activation, b.graph(y))
    assert kinds(after)["Activate"] == 0 and len(after.nodes) == len(b.nodes) - 1 and why_not(after) == ()


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [("relu", "silu", "ends in an activation already"), ("silu", "relu", "ends in an activation already")],
)
def test_one_activation_each(first: str, second: str, reason: str) -> None:
    b = Build(4, 7, 5)
    apply = {"relu": b.relu, "silu": lambda x: b.node(ir.Activate(Activation("silu")), x)}
    after = check_pass(fuse_activation, b.graph(apply[second](apply[first](b.conv("x", 6)))))
    assert len(after.nodes) == 3 and reason in why_not(after)[0]


def test_functions_that_a_backend_wants_apart() -> None:
    b = Build(4, 7, 5)
    y = b.relu(b.conv(b.node(ir.Activate(Activation("silu")), b.conv("x", 6)), 3))
    after = check_pass(partial(fuse_activation, kinds=(ir.ReLU,)), b.graph(y))
    assert kinds(after) == {"Input": 1, "Conv2d": 2, "Activate": 1}
