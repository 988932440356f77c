import pytest
import torch

from inception_fast.graph import ir
from inception_fast.graph.passes.read_bytes import read_bytes, why_not
from tests.graph.build import Build
from tests.graph.check import check_pass, kinds


def test_affines_of_bytes_are_part_of_reading_them() -> None:
    b = Build(3, 7, 5, of_bytes=True)
    before = b.graph(b.conv(b.affine("x"), 4, (3, 3)), b.maxpool(b.affine("x")))
    after = check_pass(read_bytes, before)
    assert kinds(after) == {"Input": 1, "Pad": 2, "Conv2d": 1, "MaxPool": 1}
    assert why_not(after) == ()


def test_everything_else_reads_one_pad() -> None:
    b = Build(3, 7, 5, of_bytes=True)
    graph = b.graph(b.conv("x", 3, residual="x"), b.maxpool(b.slice("x", 1, 2)), b.affine("x", relu=True), "x")
    after = check_pass(read_bytes, graph)
    assert kinds(after) == {"Input": 1, "Pad": 1, "Conv2d": 1, "MaxPool": 1, "Slice": 1, "Affine": 1}


def test_a_pad_reads_bytes_itself() -> None:
    b = Build(3, 7, 5, of_bytes=True)
    after = check_pass(read_bytes, b.graph(b.node(ir.Pad((1, 0, 2, 0), 7.0), b.affine("x"))))
    (pad,) = after.of_kind(ir.Pad)
    assert pad.inputs == ("x",) and pad.op.padding == (1, 0, 2, 0) and pad.op.scale is not None


@pytest.mark.parametrize("of_bytes", [True, False])
def test_an_affine_moves_into_the_pad_behind_it(of_bytes: bool) -> None:
    b = Build(3, 7, 5, of_bytes=of_bytes)
    after = check_pass(read_bytes, b.graph(b.node(ir.Pad((1, 1, 1, 1), 2.0), b.affine("x"))))
    assert kinds(after) == {"Input": 1, "Pad": 1}


@pytest.mark.parametrize("kind", ["read twice", "relu", "scaled pad", "output"])
def test_an_affine_stays_where_the_pad_cannot_have_it(kind: str) -> None:
    b = Build(3, 7, 5)
    a = b.affine("x", relu=kind == "relu")
    vectors = (b.param(3), b.param(3)) if kind == "scaled pad" else (None, None)
    pad = b.node(ir.Pad((1, 1, 1, 1), 2.0, *vectors), a)
    outputs = {"read twice": (pad, b.maxpool(a)), "output": (pad, a)}.get(kind, (pad,))
    after = check_pass(read_bytes, b.graph(*outputs))
    assert kinds(after)["Affine"] == 1 and after.by_name[pad].inputs == (a,)


def test_numbers_are_left_alone() -> None:
    b = Build(3, 7, 5)
    graph = b.graph(b.conv(b.affine("x"), 4))
    assert str(check_pass(read_bytes, graph)) == str(graph)


def test_pads_in_sequence_keep_their_own_values() -> None:
    b = Build(3, 4, 4)
    inner = b.node(ir.Pad((1, 0, 0, 0), 1.0), "x")
    after = check_pass(read_bytes, b.graph(b.node(ir.Pad((0, 1, 0, 0), 2.0), inner)))
    assert kinds(after)["Pad"] == 2
    assert torch.equal(torch.tensor([n.op.value for n in after.of_kind(ir.Pad)]), torch.tensor([1.0, 2.0]))
