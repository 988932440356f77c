"""Steps on their own, and their twins out of PyTorch's operators, against what steps are defined to compute."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from inception_fast.backends import Lowering, get_backend
from inception_fast.bench import kernel_contest
from inception_fast.bench.accuracy import compare
from inception_fast.bench.layers import Layer, concats, isolate, signature, typed, unique_layers
from inception_fast.bench.twins import Twin, operands_of
from inception_fast.graph.capture import capture
from inception_fast.graph.passes import optimize_graph
from inception_fast.lowering.lower import lower
from inception_fast.plan.plan import Plan, convolutions_of, destinations_of
from tests.bench.nets import SIZE, Block, Residual, images, small
from tests.plan.definition import plan_outputs

CPU = torch.device("cpu")


class Extra(nn.Module):
    """Steps that :func:`small` has not: a 1x1 image with a linear layer, an affine, odd strides, a pool with a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.strided = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.crop = nn.Conv2d(6, 7, (5, 3), stride=(3, 2), padding=(1, 2), bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.crop(self.strided(torch.relu(self.norm(x))))


def plan_of(model: nn.Module, size: int = SIZE, channels: int = 3) -> tuple[Plan, dict[str, torch.Tensor]]:
    example = torch.zeros(1, channels, size, size)
    graph, _ = optimize_graph(capture(model.eval(), example).graph, Lowering(merge_taps=True))
    return lower(graph, "float64")


PLANS = {"small": plan_of(small()), "extra": plan_of(Extra())}
LAYERS = unique_layers(PLANS)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.label)
def test_a_twin_computes_what_its_step_does(layer: Layer) -> None:
    shape = layer.plan.buffers[0]
    x = torch.randn(3, shape.channels, shape.height, shape.width, dtype=torch.float64)
    expected = plan_outputs(layer.plan, layer.constants, x)
    with torch.no_grad():
        got = Twin(layer.plan, layer.constants)(*operands_of(layer.plan, x, torch.contiguous_format))
    assert compare(got, expected).relative_l2 < 1e-12


def test_a_step_alone_computes_what_it_does_in_its_network() -> None:
    plan, constants = PLANS["small"]
    reference = get_backend("reference")
    whole, x = reference.compile(plan, constants, device=CPU), images(2).double()
    first = plan.steps[0]
    alone = isolate(plan, first)
    used = {name: constants[name] for name in alone.constants}
    (got,) = reference.compile(alone, used, device=CPU).run(x)
    (expected,) = whole.run_until(x, first.name)
    assert torch.equal(got, expected)


def test_every_step_is_in_one_layer() -> None:
    names = [name for layer in LAYERS for name in layer.names]
    assert sorted(names) == sorted(f"{model}:{step.name}" for model, (plan, _) in PLANS.items() for step in plan.steps)


def test_the_layers_cover_what_steps_can_be() -> None:
    steps = [layer.step for layer in LAYERS]
    assert {s.kind for s in steps} == {"conv", "pair", "pool", "pointwise"}
    assert any(getattr(s, "residual", None) for s in steps)
    assert any(len(destinations_of(s)) > 1 for s in steps)
    assert any("linear" in layer.label for layer in LAYERS)
    assert any(conv.stride == (3, 2) for s in steps for conv in convolutions_of(s))


def test_equal_shapes_are_timed_once() -> None:
    block = plan_of(Block(32), channels=32)
    layers = unique_layers({"one": block, "two": block})
    assert len(layers) == len(unique_layers({"one": block}))
    assert all(len(layer.names) % 2 == 0 for layer in layers)


def test_a_relu_makes_a_difference() -> None:
    (layer, *_) = (y for y in LAYERS if y.step.kind == "conv" and destinations_of(y.step)[0].relu)
    step = layer.step
    linear = replace(step, destinations=tuple(replace(d, relu=False) for d in step.destinations))
    assert signature(replace(layer.plan, steps=(linear,))) != signature(layer.plan)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_a_typed_layer_is_a_valid_plan_of_its_dtype(dtype: str) -> None:
    for layer in LAYERS:
        plan, constants = typed(layer, dtype)
        assert plan.dtype == dtype
        assert set(constants) == set(plan.constants)
        for conv in convolutions_of(plan.steps[0]):
            assert constants[conv.weight].dtype == getattr(torch, dtype)


def test_concats_that_are_gone() -> None:
    found = concats([plan_of(Block(8), channels=8)[0], plan_of(Residual(8), channels=8)[0]])
    assert sorted(tuple(c for c, _, _ in pieces) for pieces in found.values()) == [(4, 4), (8, 10, 8, 6)]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_kernel_is_checked_and_timed(precision: str) -> None:
    layer = next(y for y in LAYERS if "into" in y.label)
    row = kernel_contest.hold(layer, get_backend("torch"), batch=2, precision=precision, device=CPU, rounds=2)
    assert row.correct
    assert row.operations == 2 * 2 * 7 * 7 * layer.step.source.channels * sum(
        d.slice.channels for d in destinations_of(layer.step)
    )


def test_a_wrong_kernel_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.bench.planted import plant

    layer = next(y for y in LAYERS if "into" in y.label)
    plant(monkeypatch, layer.step.name)
    row = kernel_contest.hold(layer, get_backend("torch"), batch=1, precision="fp32", device=CPU, rounds=1)
    assert not row.correct
