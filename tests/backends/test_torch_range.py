"""No NaN is lost in a network, wherever it comes from: what ``nan`` and ``inf`` become is what they become in float64's
order of operations, on every backend.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast.backends import get_backend, torch_range
from inception_fast.backends.base import Executor
from inception_fast.backends.torch_range import Bounds, OutOfRangeError, growths, magnitude
from inception_fast.graph import ir
from inception_fast.graph.interpreter import interpret
from tests.backends.harness import CPU, lowered
from tests.graph.build import Build


def chain() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 9, 1), nn.ReLU(), nn.Conv2d(9, 2, 1)]
    return nn.Sequential(*layers).eval(), torch.randn(2, 3, 9, 9)


@pytest.mark.parametrize("images", [1, 2])
def test_nan_made_of_infinite_weights(images: int, backend: str) -> None:
    model, x = chain()
    with torch.no_grad():
        model[0].weight[0] = float("inf")
    want, got = model(x[:images]), ifast.optimize(model, x[:1], backend=backend)(x[:images])
    assert want.isnan().any()
    assert torch.equal(got.isnan(), want.isnan())


@pytest.mark.parametrize("images", [1, 2])
def test_nan_made_of_sums_that_overflow(images: int, backend: str) -> None:
    """The first convolution's sums become infinite, and in the second one infinities of both signs meet."""
    model, x = chain()
    with torch.no_grad():
        model[0].weight *= 1e38
    x *= 100
    want, got = model(x[:images]), ifast.optimize(model, x[:1], backend=backend)(x[:images])
    assert want.isnan().any()
    assert torch.equal(got.isnan(), want.isnan())


def executor_of(graph: ir.Graph) -> Executor:
    plan, constants = lowered(graph, "fp32")
    return get_backend("torch").compile(plan, constants, device=CPU, precision="fp32")


def deep_graph(layers: int) -> ir.Graph:
    build, value = Build(6, 5, 5), "x"
    for _ in range(layers):
        value = build.conv(value, 6, (3, 3), bias=True, relu=True)
    graph = build.graph()
    for weight in graph.params.values():
        if weight.dim() == 4:
            weight /= 6.0
    return graph


def test_a_bound_that_grows_too_loose_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, looks = deep_graph(60), []

    def counted(x: torch.Tensor) -> float:
        looks.append(x)
        return magnitude(x)

    executor = executor_of(graph)
    monkeypatch.setattr(torch_range, "magnitude", counted)
    x = torch.randn(1, 6, 5, 5)
    first = executor.run(x)[0]
    assert 1 < len(looks) < 20
    assert "exact" not in executor._variants  # type: ignore[attr-defined]
    assert first.isfinite().all()


def test_large_images_take_kernels_that_keep_a_nan() -> None:
    graph = deep_graph(3)
    executor = executor_of(graph)
    x = torch.randn(1, 6, 5, 5)
    executor.run(x)
    assert "exact" not in executor._variants  # type: ignore[attr-defined]
    executor.run(x * 1e33)
    assert "exact" in executor._variants  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", [3.0, -7.0])
def test_magnitude(value: float) -> None:
    x = torch.tensor([0.0, value, 1.0])
    assert magnitude(x) == abs(value)
    for bad in (float("inf"), float("-inf"), float("nan")):
        x[2] = bad
        assert magnitude(x) == float("inf")


@pytest.mark.parametrize(
    "make",
    [
        lambda build: build.conv("x", 7, (3, 3), bias=True, relu=True),
        lambda build: build.affine("x"),
        lambda build: build.add("x", build.affine("x")),
        lambda build: build.node(ir.AvgPool((3, 3), (1, 1), (1, 1), bias=build.param(5)), "x"),
        lambda build: build.node(ir.MaxPool((3, 3), (2, 2), (0, 0)), "x"),
        lambda build: build.node(ir.Resize((9, 3), False), "x"),
        lambda build: build.conv("x", 5, bias=True, residual=build.conv("x", 5, (3, 3))),
    ],
)
def test_bounds_hold_and_a_smaller_one_would_not_be_far(make: object) -> None:
    build = Build(5, 6, 7)
    make(build)  # type: ignore[operator]
    graph = build.graph()
    plan, constants = lowered(graph, "fp32")
    for scale in (1.0, 1e4):
        x = scale * torch.randn(2, 5, 6, 7).sign()
        bounds = Bounds(growths(plan, constants), 1e30, len(plan.buffers), x, plan.input)
        for index in range(len(plan.steps)):
            bounds.step(index, [None] * len(plan.buffers))
        truth = interpret(graph, x)[0].abs().max().item()
        bound = bounds._largest[plan.outputs[0].buffer]
        assert truth <= bound <= 40 * truth
    with pytest.raises(OutOfRangeError):
        bounds = Bounds(growths(plan, constants), 1e3, len(plan.buffers), x, plan.input)
        for index in range(len(plan.steps)):
            bounds.step(index, [x] * len(plan.buffers))


def test_a_look_is_at_what_is_read() -> None:
    """The rest of a buffer may be memory that nobody has written, which would decide by what it held before."""
    build = Build(5, 6, 7)
    build.conv(build.slice("x", 1, 3), 4, (3, 3))
    plan, constants = lowered(build.graph(), "fp32")
    x = torch.full((1, 5, 6, 7), float("nan"))
    x[:, 1:4] = 1.0
    index = next(i for i, step in enumerate(plan.steps) if step.source.channels == 3)
    Bounds(growths(plan, constants), 1e30, len(plan.buffers), x, plan.input).step(index, [x] * len(plan.buffers))
