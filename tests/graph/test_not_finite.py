"""Folding makes no infinity and no NaN where the model has none, and loses none that it has."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import inception_fast as ifast
from inception_fast.backends import Lowering, names
from inception_fast.errors import UnsupportedOpError
from inception_fast.graph.capture import capture
from inception_fast.graph.interpreter import interpret
from inception_fast.graph.passes import optimize_graph
from tests.backends.harness import here_on_the_cpu
from tests.graph.capturing import Model, example

inf = float("inf")
FORWARDS: dict[str, Callable[[Any, Tensor], Any]] = {
    "x / 0": lambda m, x: x / 0.0,
    "x / -0": lambda m, x: x / -0.0,
    "x / 0 + 1": lambda m, x: x / 0.0 + 1,
    "(x + 1) / 0": lambda m, x: (x + 1) / 0.0,
    "(2 x - 1) / 0 - 3": lambda m, x: (2 * x - 1) / 0.0 - 3,
    "x / 0 / 2": lambda m, x: x / 0.0 / 2,
    "x / 0 * 0": lambda m, x: x / 0.0 * 0,
    "x * inf": lambda m, x: x * inf,
    "(x + inf) * -1": lambda m, x: (x + inf) * -1,
    "x + inf - inf": lambda m, x: x + inf - inf,
    "conv / 0": lambda m, x: m.conv(x) / 0.0,
    "conv / 0 + 1": lambda m, x: m.conv(x) / 0.0 + 1,
    "conv of x / 0": lambda m, x: m.conv(x / 0.0),
    "conv of x + inf": lambda m, x: m.conv(x + inf),
    "relu(x / 0)": lambda m, x: F.relu(x / 0.0),
    "one channel of four": lambda m, x: x / torch.tensor([1.0, 0.0, 2.0, 0.0]).view(4, 1, 1),
}


def images() -> Tensor:
    """Small whole numbers, zeros among them, so that every sum is exact."""
    return torch.randint(-3, 4, (2, 4, 7, 9), generator=torch.Generator().manual_seed(1)).float()


def conv() -> nn.Conv2d:
    layer = nn.Conv2d(4, 5, 1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for tensor in layer.parameters():
            tensor.copy_(torch.randint(-2, 3, tensor.shape, generator=generator))
    return layer


@pytest.mark.parametrize("forward", FORWARDS.values(), ids=FORWARDS)
def test_infinities_and_nan_stay_where_they_are(forward: Callable[[Any, Tensor], Any]) -> None:
    model, x = Model(forward, conv=conv()), images()
    with torch.no_grad():
        truth = copy.deepcopy(model).double()(x.double())
    assert not truth.isfinite().all(), "otherwise this tests nothing"
    graph = capture(model, example()).graph
    for each in (graph, optimize_graph(graph, Lowering())[0]):
        torch.testing.assert_close(interpret(each, x)[0], truth, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("backend", names())
@pytest.mark.parametrize("name", ["x / 0", "(x + 1) / 0", "conv / 0", "one channel of four"])
def test_backends_keep_them(name: str, backend: str) -> None:
    model, x = Model(FORWARDS[name], conv=conv()), images()
    with torch.no_grad():
        truth = model(x)
    fast = ifast.optimize(model, x, backend=here_on_the_cpu(backend))
    torch.testing.assert_close(fast(x), truth, rtol=0, atol=0, equal_nan=True)


def test_a_divisor_without_a_reciprocal_is_refused() -> None:
    with pytest.raises(UnsupportedOpError, match="the divisor is so small that its reciprocal is no float32"):
        capture(Model(lambda m, x: x / 1e-45), example())


def quiet_channels(eps: float) -> nn.Sequential:
    """A convolution whose outputs are small, and a normalisation that makes them large again."""
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8, eps=eps), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
    with torch.no_grad():
        model[0].bias.zero_()
        model[1].running_var.zero_()
        model[1].bias.uniform_(-1, 1)
    return model


@pytest.mark.parametrize("backend", names())
def test_weights_that_would_overflow_half_precision_are_not_folded(backend: str) -> None:
    model = quiet_channels(1e-12)
    x = torch.randn(2, 4, 7, 9) * 1e-4
    half = copy.deepcopy(model).half()
    with torch.no_grad():
        truth, eager = copy.deepcopy(model).double()(x.half().double()), half(x.half()).double()
    fast = ifast.optimize(model, x, precision="fp16", backend=here_on_the_cpu(backend))
    assert "would overflow half precision" in str(fast.report())
    ours = fast(x).double()
    assert eager.isfinite().all() and ours.isfinite().all()
    assert (ours - truth).norm() <= 2 * (eager - truth).norm()


def test_what_overflows_nothing_is_folded() -> None:
    graph, _ = optimize_graph(capture(quiet_channels(1e-6), example()).graph, Lowering())
    assert [node.op.kind for node in graph.nodes] == ["Input", "Conv2d", "Conv2d"]
