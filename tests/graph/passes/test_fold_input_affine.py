import pytest
import torch

from inception_fast.graph import ir
from inception_fast.graph.passes.fold_input_affine import fold_input_affine, why_not
from tests.graph.build import Build
from tests.graph.check import check_pass, kinds

UNPADDED = (0, 0, 0, 0)


@pytest.mark.parametrize("bias", [True, False])
def test_folds_into_every_reader(bias: bool) -> None:
    b = Build(3, 9, 7)
    a = b.affine("x")
    first = b.conv(a, 4, (3, 2), stride=(2, 1), padding=UNPADDED, bias=bias, relu=True)
    second = b.conv(a, (2, 3), (2, 3), dilation=(2, 1), padding=UNPADDED)
    after = check_pass(fold_input_affine, b.graph(first, second))
    assert kinds(after) == {"Input": 1, "Conv2d": 2}
    assert why_not(after) == ()


def test_folds_behind_a_resize() -> None:
    b = Build(3, 9, 7)
    a = b.affine(b.node(ir.Resize((5, 6), False), "x"))
    after = check_pass(fold_input_affine, b.graph(b.conv(a, 4, (3, 3), padding=UNPADDED)))
    assert kinds(after) == {"Input": 1, "Resize": 1, "Conv2d": 1}


def test_folds_one_behind_the_other() -> None:
    b = Build(3, 9, 7)
    first = b.affine("x")
    outputs = (b.conv(b.affine(first), 4), b.conv(first, 2))
    assert kinds(check_pass(fold_input_affine, b.graph(*outputs))) == {"Input": 1, "Conv2d": 2}


def test_residual_of_the_reader_is_kept() -> None:
    b = Build(3, 9, 7)
    y = b.conv(b.affine("x"), 3, residual="x", bias=True)
    after = check_pass(fold_input_affine, b.graph(y))
    assert kinds(after) == {"Input": 1, "Conv2d": 1}


@pytest.mark.parametrize("side", range(4))
def test_refuses_padding_on_any_side(side: int) -> None:
    b = Build(3, 9, 7)
    padding = tuple(int(i == side) for i in range(4))
    after = check_pass(fold_input_affine, b.graph(b.conv(b.affine("x"), 4, (3, 3), padding=padding)))
    assert kinds(after)["Affine"] == 1
    assert "pads" in why_not(after)[0]


@pytest.mark.parametrize("kind", ["relu", "output", "other reader", "residual", "one reader padded"])
def test_refuses(kind: str) -> None:
    b = Build(3, 9, 7)
    a = b.affine("x", relu=kind == "relu")
    c = b.conv(a, 3, residual=a if kind == "residual" else None)
    more = {
        "output": lambda: a,
        "other reader": lambda: b.maxpool(a),
        "one reader padded": lambda: b.conv(a, 2, (3, 3)),
    }
    after = check_pass(fold_input_affine, b.graph(c, *([more[kind]()] if kind in more else [])))
    assert kinds(after)["Affine"] == 1 and len(why_not(after)) == 1


def test_an_affine_that_no_convolution_reads_needs_no_reason() -> None:
    b = Build(3, 9, 7)
    assert why_not(b.graph(b.maxpool(b.affine("x")))) == ()


@pytest.mark.parametrize(
    ("scale", "shift", "folds"),
    [
        (1.0, -127.5, False),
        (2.0, -1.0, False),
        (1 / 128, -127.5 / 128, False),
        (0.458, -0.03, True),
        (1 / 3, 0.0, True),
        (0.5, 0.0, True),
    ],
)
def test_an_exact_subtraction_from_the_input_stays(scale: float, shift: float, folds: bool) -> None:
    b = Build(3, 9, 7)
    node = b.node(ir.Affine("scale", "shift"), "x")
    b.params.update(scale=torch.full((3,), scale), shift=torch.full((3,), shift))
    resized = b.node(ir.Resize((9, 7), False), "x")
    behind = b.node(ir.Affine("scale", "shift"), resized)
    after = check_pass(fold_input_affine, b.graph(b.conv(node, 4), b.conv(behind, 4)))
    assert kinds(after).get("Affine", 0) == (0 if folds else 1)
    assert ("lose digits" in "".join(why_not(after))) is not folds
