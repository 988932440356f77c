from dataclasses import replace

import pytest
import torch

from inception_fast.graph import ir
from inception_fast.graph.interpreter import interpret
from inception_fast.graph.passes.fold_batchnorm import fold_batchnorm, why_not
from tests.graph.build import Build
from tests.graph.check import assert_same_values, check_pass, kinds, random_input


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_folds_into_convolution(bias: bool, affine: bool) -> None:
    b = Build(3, 7, 9)
    b.batchnorm(b.conv("x", 5, (3, 2), bias=bias, padding=(1, 0, 0, 2), stride=(2, 1)), affine=affine)
    after = check_pass(fold_batchnorm, b.graph())
    assert [n.op.kind for n in after.nodes] == ["Input", "Conv2d"]
    assert all(p.dtype == torch.float64 for p in after.params.values())
    assert why_not(after) == ()


def test_result_keeps_the_name_of_the_normalised_value_and_the_origin_of_the_convolution() -> None:
    b = Build(3, 7, 9)
    b.batchnorm(b.conv("x", 5, name="c"), name="y")
    (conv,) = check_pass(fold_batchnorm, b.graph()).of_kind(ir.Conv2d)
    assert (conv.name, conv.origin) == ("y", "net.c")


def test_a_convolution_without_origin_has_that_of_the_norm() -> None:
    b = Build(4, 5, 5)
    before = b.graph(b.batchnorm(b.conv("x", 3), name="norm"))
    bare = replace(before, nodes=tuple(replace(n, origin=n.origin * (n.name == "norm")) for n in before.nodes))
    assert fold_batchnorm(bare).nodes[-1].origin == "net.norm"


def test_folds_into_linear() -> None:
    b = Build(6, 5, 3)
    b.batchnorm(b.linear(b.flat("x"), 7, bias=False))
    after = check_pass(fold_batchnorm, b.graph())
    assert kinds(after) == {"Input": 1, "AdaptiveAvgPool": 1, "Flatten": 1, "Linear": 1}


def test_segments_are_scaled_each_by_its_own_channels() -> None:
    b = Build(3, 5, 5)
    b.batchnorm(b.conv("x", (2, 5), bias=True))
    (conv,) = check_pass(fold_batchnorm, b.graph()).of_kind(ir.Conv2d)
    assert conv.op.segments == (ir.Segment(2), ir.Segment(5))


def test_chain_of_affines_and_norms_becomes_one_convolution() -> None:
    b = Build(3, 5, 7)
    value = b.conv("x", 4, (3, 3))
    for layer in (b.affine, b.batchnorm, b.affine):
        value = layer(value)
    assert kinds(check_pass(fold_batchnorm, b.graph())) == {"Input": 1, "Conv2d": 1}


def test_affines_compose_where_there_is_no_convolution() -> None:
    b = Build(3, 5, 7)
    b.affine(b.affine("x"), relu=True)
    after = check_pass(fold_batchnorm, b.graph())
    (affine,) = after.of_kind(ir.Affine)
    assert affine.op.relu and affine.inputs == ("x",)
    assert "Input" in why_not(after)[0]


def test_what_folds_needs_no_reason() -> None:
    b = Build(3, 5, 7)
    assert why_not(b.graph(b.batchnorm(b.conv("x", 4)))) == ()


@pytest.mark.parametrize(("scale", "affines"), [(2.0, 1), (-0.25, 1), (3.0, 2)])
def test_an_exact_subtraction_from_the_input_takes_exact_scales(scale: float, affines: int) -> None:
    b = Build(3, 5, 7)
    b.affine(b.affine("x"))
    first, second = (node.op for node in b.nodes[1:])
    b.params[first.scale].fill_(1)
    b.params[second.scale].fill_(scale)
    assert kinds(check_pass(fold_batchnorm, b.graph()))["Affine"] == affines


@pytest.mark.parametrize("centred", [True, False])
def test_a_norm_of_the_input_subtracts_first(centred: bool) -> None:
    b = Build(3, 5, 7)
    norm = b.batchnorm("x")
    if not centred:
        b.params[b.nodes[-1].op.mean].zero_()
    b.batchnorm(b.affine(norm))
    after = check_pass(fold_batchnorm, b.graph())
    affines = list(after.of_kind(ir.Affine))
    assert len(affines) == (2 if centred else 1)
    if centred:
        assert after.params[affines[0].op.scale].eq(1).all()


def test_relu_of_the_affine_moves_to_the_convolution() -> None:
    b = Build(3, 5, 7)
    b.affine(b.conv("x", (2, 3)), relu=True)
    (conv,) = check_pass(fold_batchnorm, b.graph()).of_kind(ir.Conv2d)
    assert conv.op.segments == (ir.Segment(2, True), ir.Segment(3, True))


def test_pure_scale_adds_no_bias() -> None:
    b = Build(3, 5, 7)
    affine = b.affine(b.conv("x", 4))
    b.params[b.nodes[-1].op.shift].zero_()
    (conv,) = check_pass(fold_batchnorm, b.graph(affine)).of_kind(ir.Conv2d)
    assert conv.op.bias is None


@pytest.mark.parametrize("kind", ["pool", "relu", "read twice", "output", "residual"])
def test_becomes_affine_where_it_cannot_fold(kind: str) -> None:
    b = Build(4, 7, 5)
    c = b.conv("x", 4, relu=kind == "relu", residual="x" if kind == "residual" else None)
    n = b.batchnorm(b.maxpool(c) if kind == "pool" else c)
    outputs = {"read twice": (b.add(n, c),), "output": (n, c)}.get(kind, (n,))
    after = check_pass(fold_batchnorm, b.graph(*outputs))
    assert kinds(after)["Affine"] == 1 and kinds(after)["Conv2d"] == 1 and kinds(after)["BatchNorm"] == 0
    reason = {"pool": "MaxPool", "relu": "activation", "residual": "residual"}.get(kind, "other readers")
    assert reason in why_not(after)[0]


def test_shared_weight_is_folded_for_each_use() -> None:
    b = Build(3, 5, 7)
    first = b.conv("x", 4)
    op = b.nodes[-1].op
    y = b.add(b.batchnorm(first), b.batchnorm(b.node(op, "x")))
    after = check_pass(fold_batchnorm, b.graph(y))
    weights = {n.op.weight for n in after.of_kind(ir.Conv2d)}
    assert len(weights) == 2 and op.weight not in weights


@pytest.mark.parametrize("eps", [1e-3, 1e-5, 0.0])
def test_tiny_running_variance(eps: float) -> None:
    """A trained network holds a running variance of 1.7e-14."""
    b = Build(3, 5, 7)
    y = b.batchnorm(b.conv("x", 4), eps=eps)
    b.params[b.nodes[-1].op.var][1] = 1.7e-14
    graph = b.graph(y)
    after = check_pass(fold_batchnorm, graph)
    x = random_input(graph)
    channel = [interpret(g, x)[0][:, 1] for g in (graph, after)]
    torch.testing.assert_close(channel[1], channel[0], rtol=1e-11, atol=0)


def test_nan_weights_stay_nan() -> None:
    b = Build(3, 5, 7)
    y = b.batchnorm(b.conv("x", 4))
    b.params[b.nodes[1].op.weight][2] = torch.nan
    graph = b.graph(y)
    (out,) = interpret(fold_batchnorm(graph), random_input(graph))
    assert out[:, 2].isnan().all() and out[:, [0, 1, 3]].isfinite().all()


def test_several_norms_on_one_value_each_become_an_affine() -> None:
    b = Build(3, 5, 7)
    c = b.conv("x", 4)
    graph = b.graph(b.batchnorm(c), b.batchnorm(c))
    assert kinds(check_pass(fold_batchnorm, graph)) == {"Input": 1, "Conv2d": 1, "Affine": 2}
    assert_same_values(graph, fold_batchnorm(graph), batch=1)
