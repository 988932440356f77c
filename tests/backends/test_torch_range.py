"""No NaN is lost in a network, wherever it comes from: what ``nan`` and ``inf`` become is what they become in float64's
order of operations, on every backend.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast.activation import Activation
from inception_fast.backends import get_backend, torch_range
from inception_fast.backends.base import Executor
from inception_fast.backends.torch_range import Bounds, OutOfRangeError, growths, magnitude, safe_limit
from inception_fast.graph import ir
from inception_fast.graph.capture import capture
from inception_fast.graph.interpreter import interpret
from inception_fast.graph.passes import optimize_graph
from tests.backends.harness import CPU, lowered
from tests.graph.build import Build

torch_backend = importlib.import_module("inception_fast.backends.torch")


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


def bound_of(graph: ir.Graph, x: torch.Tensor) -> float:
    """Of the first output, where nothing is looked at."""
    plan, constants = lowered(graph, "fp32")
    bounds = Bounds(growths(plan, constants), math.inf, len(plan.buffers), x, plan.input)
    for index in range(len(plan.steps)):
        bounds.step(index, [None] * len(plan.buffers))
    return bounds._largest[plan.outputs[0].buffer]


def pair(build: Build, residual: bool, bias: bool = True) -> str:
    """``bias`` of the first one; the second one has one."""
    weight, offset = build.param(3, 2, 1, 3), build.param(3) if bias else None
    first = ir.Conv2d(weight, offset, (1, 1), (0, 1, 0, 1), (1, 1), (ir.Segment(3, True),))
    second = ir.Conv2d(build.param(2, 3, 3, 1), build.param(2), (1, 1), (1, 0, 1, 0), (1, 1), (ir.Segment(2),))
    return build.node(ir.ConvPair(first, second), "x", *(["x"] if residual else []))


def depthwise(build: Build, bias: bool) -> str:
    weight = build.param(2, 1, 3, 3)
    return build.node(ir.DepthwiseConv2d(weight, build.param(2) if bias else None, (1, 1), (1,) * 4, (1, 1)), "x")


ATTAINED: dict[str, Callable[[Build], str]] = {
    "convolution": lambda b: b.conv("x", 3, (3, 3)),
    "convolution with bias": lambda b: b.conv("x", 3, (3, 3), bias=True),
    "convolution with residual": lambda b: b.conv("x", 2, bias=True, residual="x"),
    "convolution with a larger residual": lambda b: b.conv("x", 2, residual=b.conv("x", 2, (3, 3))),
    "pair": lambda b: pair(b, residual=False),
    "pair with residual": lambda b: pair(b, residual=True),
    "pair with a last bias": lambda b: pair(b, residual=True, bias=False),
    "depthwise": lambda b: depthwise(b, bias=False),
    "depthwise with bias": lambda b: depthwise(b, bias=True),
    "affine": lambda b: b.affine("x"),
    "sum": lambda b: b.add("x", "x"),
    "larger padding": lambda b: b.node(ir.Pad((1, 0, 0, 2), -1e6), "x"),
    "smaller padding": lambda b: b.node(ir.Pad((1, 0, 0, 2), 0.125), "x"),
    "padding that scales": lambda b: b.node(ir.Pad((1, 0, 0, 2), 0.125, b.param(2), b.param(2)), "x"),
    "average": lambda b: b.avgpool("x", include_pad=False),
    "average with bias": lambda b: b.node(ir.AvgPool((3, 3), (1, 1), (0, 0), bias=b.param(2)), "x"),
    "maximum": lambda b: b.maxpool("x"),
    "resize": lambda b: b.node(ir.Resize((9, 3), False), "x"),
    "gate": lambda b: b.node(ir.Gate(), b.affine("x"), b.conv("x", 2)),
    "direction": lambda b: b.node(ir.Normalize(1e-12), b.slice("x", 1, 1)),
    "probability": lambda b: b.node(ir.Softmax(), b.slice("x", 1, 1)),
    "responses": lambda b: b.node(ir.LocalResponseNorm(3, 0.0, 0.75, 0.5), "x"),
    "responses that are small": lambda b: b.node(ir.LocalResponseNorm(3, 1e-30, 0.75, 0.5), "x"),
    "two layers": lambda b: b.conv(b.conv("x", 3, (3, 3), bias=True, relu=True), 2, bias=True),
}


@pytest.mark.parametrize("name", ATTAINED)
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_bounds_are_attained(name: str, scale: float) -> None:
    """Where every number is positive and all channels are alike."""
    build = Build(2, 6, 7)
    ATTAINED[name](build)
    graph = build.graph()
    for parameter in graph.params.values():
        parameter.copy_(1 + parameter[:1].abs())
    x = torch.full((1, 2, 6, 7), scale)
    truth, steps = interpret(graph, x)[0].abs().max().item(), len(lowered(graph, "fp32")[0].steps)
    # Of what lies between two convolutions and of a border, both of a few ones, it is all together that is bounded.
    beside = 4 if name in ("pair", "pair with residual", "smaller padding") else 0
    assert 0.999 * truth < bound_of(graph, x) < 1.012**steps * (truth + beside)


@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_logarithms_of_probabilities(scale: float) -> None:
    build = Build(2, 3, 3)
    build.node(ir.Softmax(log=True), "x")
    x = scale * torch.tensor([1.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 3, 3)
    truth = interpret(build.graph(), x)[0].abs().max().item()
    assert truth <= bound_of(build.graph(), x) < 1.02 * truth


@pytest.mark.parametrize(("alpha", "beta", "k"), [(-0.1, 0.75, 1.0), (1e-4, -0.5, 1.0), (1e-4, 0.75, 0.0)])
def test_responses_whose_divisor_may_be_anything(alpha: float, beta: float, k: float) -> None:
    build = Build(2, 3, 3)
    build.node(ir.LocalResponseNorm(3, alpha, beta, k), "x")
    plan, constants = lowered(build.graph(), "fp32")
    x = torch.ones(1, 2, 3, 3)
    with pytest.raises(OutOfRangeError):
        Bounds(growths(plan, constants), 1e30, len(plan.buffers), x, plan.input).step(0, [x] * len(plan.buffers))


@pytest.mark.parametrize(
    ("activation", "value"),
    [
        (Activation("sigmoid"), 30.0),
        (Activation("tanh"), -30.0),
        (Activation("hardsigmoid"), 30.0),
        (Activation("silu"), 30.0),
        (Activation("gelu"), 30.0),
        (Activation("gelu_tanh"), 30.0),
        (Activation("hardswish"), 30.0),
        (Activation("leaky_relu", 0.1), 30.0),
        (Activation("leaky_relu", -3.0), -30.0),
        (Activation("prelu", slope="slope"), -30.0),
        (Activation("prelu", slope="slope"), 30.0),
        (Activation("elu", 0.5), 30.0),
        (Activation("elu", 500.0), -30.0),
        (Activation("elu", -500.0), -30.0),
        (Activation("clamp_min", -500.0), 30.0),
        (Activation("clamp_min", 500.0), 30.0),
        (Activation("clamp_max", 0.0, -500.0), 30.0),
        (Activation("clamp", -20.0, 500.0), 30.0),
        (Activation("clamp", 40.0, 500.0), 30.0),
    ],
)
@pytest.mark.parametrize("slope", [0.25, -4.0])
def test_bounds_behind_a_function(activation: Activation, value: float, slope: float) -> None:
    build = Build(2, 3, 3)
    build.params["slope"] = torch.tensor([0.125, slope])
    build.node(ir.Activate(activation), "x")
    x = torch.full((1, 2, 3, 3), value)
    truth = interpret(build.graph(), x)[0].abs().max().item()
    loose = activation.function in ("clamp_min", "clamp") and truth < 499
    most = 500.0 if loose else 1.02 * max(truth, 30 * max(1, -slope) if activation.slope else 0.0)
    assert 0.999 * truth <= bound_of(build.graph(), x) <= most


def test_nothing_bounds_a_power() -> None:
    build = Build(2, 3, 3)
    build.node(ir.Activate(Activation("power", 0.5)), "x")
    assert bound_of(build.graph(), torch.ones(1, 2, 3, 3)) == math.inf


def test_a_buffer_is_as_large_as_its_largest_part() -> None:
    build = Build(2, 3, 3)
    small, large = build.conv("x", 2, relu=True), build.conv("x", 2)
    build.params["p1"] *= 1000
    build.concat(small, large)
    for parts in ((small, large), (large, small)):
        build.nodes.pop()
        build.node(ir.Concat(in_place=True), *parts)
        x = torch.ones(1, 2, 3, 3)
        truth = interpret(build.graph(), x)[0].abs().max().item()
        assert truth <= bound_of(build.graph(), x)


@pytest.mark.parametrize("size", [(3, 3), (1, 2), (2, 1)])
def test_a_look_at_a_part_says_nothing_of_the_others(size: tuple[int, int]) -> None:
    build = Build(2, *size)
    parts = [build.conv(build.slice("x", channel, 1), 2) for channel in (0, 1)]
    plan, constants = lowered(build.graph(*parts), "fp32")
    x = torch.ones(1, 2, *size)
    x[:, 1] = torch.inf
    order = sorted(range(len(plan.steps)), key=lambda i: plan.steps[i].source.start)
    bounds = Bounds(growths(plan, constants), 1e30, len(plan.buffers), x, plan.input)
    bounds.step(order[0], [x] * len(plan.buffers))
    with pytest.raises(OutOfRangeError):
        bounds.step(order[1], [x] * len(plan.buffers))


def test_parts_of_a_batch() -> None:
    """Together they are as large as the largest, wherever it is."""
    build = Build(2, 3, 3)
    build.affine("x")
    plan, constants = lowered(build.graph(), "fp32")
    for sizes in ((1.0, 1e20), (1e20, 1.0)):
        whole, other = (
            Bounds(growths(plan, constants), 1e15, len(plan.buffers), torch.full((1, 2, 3, 3), size), plan.input)
            for size in sizes
        )
        whole.join(other)
        with pytest.raises(OutOfRangeError):
            whole.step(0, [torch.full((2, 2, 3, 3), 1e20)] * len(plan.buffers))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_sums_below_the_limit_do_not_overflow(dtype: torch.dtype) -> None:
    limit = torch.tensor(safe_limit(dtype), dtype=dtype)
    assert (2 * limit).isfinite() and not (16 * limit.double() * 2**20).to(dtype).isfinite()
    # An average sums all pixels of a large image before it divides.
    assert (torch.full((), safe_limit(dtype)).float() * 2**19).isfinite()


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="needs oneDNN")
@pytest.mark.parametrize("large", [0, 5], ids=["first", "last"])
def test_no_nan_is_lost_behind_a_stem_that_ran_in_parts(large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One image of the batch is so large that sums overflow, and only those of the layer behind the stem."""
    monkeypatch.setattr(torch_backend, "STEM_BYTES", 6 * 4 * 1000)
    model, x = chain()
    model.append(nn.ReLU())
    with torch.no_grad():
        for index, factor in ((2, 1e9), (4, 1e16)):
            model[index].weight *= factor
    x = x[:1].repeat(6, 1, 1, 1)
    x[large] *= 1e21
    graph, _ = optimize_graph(capture(model, x).graph, get_backend("torch").lowering)
    executor = executor_of(graph)
    assert executor._stem(x) == 2  # type: ignore[attr-defined]
    with torch.no_grad():
        want = model(x)
    got = executor.run(x)[0]
    assert want[large].isnan().any() and not want[1:5].isnan().any()
    assert torch.equal(got.isnan(), want.isnan())
