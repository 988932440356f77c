import pytest

from inception_fast.graph import ir
from inception_fast.graph.passes.fold_batchnorm import fold_batchnorm
from inception_fast.graph.passes.fuse_residual import fuse_residual, why_not
from tests.graph.build import Build
from tests.graph.check import check_pass, kinds


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("conv_first", [True, False])
def test_fuses_either_operand(conv_first: bool, bias: bool, relu: bool) -> None:
    b = Build(4, 7, 5)
    r = b.maxpool("x")
    c = b.conv("x", 4, (3, 3), bias=bias)
    y = b.add(*((c, r) if conv_first else (r, c)), relu=relu, name="y")
    after = check_pass(fuse_residual, b.graph(y))
    (conv,) = after.of_kind(ir.Conv2d)
    assert (conv.name, conv.inputs, conv.origin) == ("y", ("x", r), f"net.{c}")
    assert conv.op.segments == (ir.Segment(4, relu),)
    assert why_not(after) == ()


def test_residual_may_be_the_convolutions_own_input() -> None:
    b = Build(4, 7, 5)
    y = b.add("x", b.conv("x", 4), relu=True)
    assert kinds(check_pass(fuse_residual, b.graph(y))) == {"Input": 1, "Conv2d": 1}


@pytest.mark.parametrize(("early", "late"), [("early", "late"), ("the early", "and the late")])
def test_later_of_two_convolutions_takes_the_sum(early: str, late: str) -> None:
    b = Build(4, 7, 5)
    b.conv("x", 6, name=early)
    b.conv("x", 6, (3, 3), name=late)
    y = b.add(late, early, name="y")
    after = check_pass(fuse_residual, b.graph(y))
    assert after.by_name["y"].inputs == ("x", early)
    assert after.params[after.by_name["y"].op.weight].shape == (6, 4, 3, 3)


def test_chain_of_sums_takes_one_residual_per_convolution() -> None:
    b = Build(4, 7, 5)
    value = b.add("x", b.conv("x", 4))
    value = b.add(value, b.conv(value, 4), relu=True)
    y = b.add(b.conv(value, 4), value)
    after = check_pass(fuse_residual, b.graph(y))
    assert kinds(after) == {"Input": 1, "Conv2d": 3}


def test_scale_is_folded_with_the_bias() -> None:
    """Inception-ResNet: ``relu(x + s * conv(x))`` with a bias in the convolution."""
    b = Build(4, 7, 5)
    y = b.add("x", b.affine(b.conv("x", 4, bias=True)), relu=True)
    after = check_pass(fuse_residual, check_pass(fold_batchnorm, b.graph(y)))
    assert kinds(after) == {"Input": 1, "Conv2d": 1}


@pytest.mark.parametrize("kind", ["read twice", "output", "relu", "has residual", "with itself", "no convolution"])
def test_refuses(kind: str) -> None:
    b = Build(4, 7, 5)
    if kind == "no convolution":
        c = b.maxpool("x")
    else:
        c = b.conv("x", 4, relu=kind == "relu", residual="x" if kind == "has residual" else None)
    y = b.add(c, c if kind == "with itself" else "x")
    outputs = {"read twice": (y, b.maxpool(c)), "output": (y, c)}.get(kind, (y,))
    after = check_pass(fuse_residual, b.graph(*outputs))
    assert kinds(after)["Add"] == 1
    reason = {
        "relu": "activation before the sum",
        "has residual": "residual already",
        "no convolution": "not a convolution",
    }
    assert reason.get(kind, "other readers") in why_not(after)[0]
