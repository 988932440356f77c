"""A library's fused convolution in the ``torch`` backend, whichever it is: tried first, and held to its word."""

from __future__ import annotations

import importlib

import pytest
import torch

from inception_fast.backends.torch import TorchExecutor
from inception_fast.backends.torch_convs import AtenConv
from inception_fast.graph import ir
from inception_fast.graph.interpreter import interpret
from tests.backends.harness import CPU, assert_close, lowered, network_input
from tests.graph.build import Build

torch_backend = importlib.import_module("inception_fast.backends.torch")


class Fused(AtenConv):
    """Right, but for what a test has set: factors of its results without and with a residual."""

    calls = 0
    factor, factor_with_residual = 1.0, 1.0

    def __call__(self, x: torch.Tensor, residual: torch.Tensor | None) -> torch.Tensor:
        type(self).calls += 1
        return super().__call__(x, residual) * (self.factor if residual is None else self.factor_with_residual)


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> type[Fused]:
    """What the device is said to have."""
    made = type("Made", (Fused,), {})
    monkeypatch.setattr(torch_backend, "fused_conv", lambda device, dtype: made)
    return made


def network() -> ir.Graph:
    """Two convolutions, of which the second has a residual, and a pair with one."""
    build = Build(4, 6, 9)
    first = build.conv("x", 4, (3, 3), relu=True)
    second = build.conv(first, 4, residual=first)
    row = ir.Conv2d(build.param(3, 4, 1, 3), None, (1, 1), (0, 0, 0, 0), (1, 1), (ir.Segment(3, True),))
    column = ir.Conv2d(build.param(4, 3, 3, 1), None, (1, 1), (1, 1, 1, 1), (1, 1), (ir.Segment(4),))
    build.node(ir.ConvPair(row, column), second, second)
    return build.graph()


def calls_of(fused: type[Fused] | None = None, allow_tf32: bool = False, batch: int = 3) -> int:
    """Of the fused kernels in a run, whose result is right."""
    graph = network()
    x, (plan, constants) = network_input(graph, batch=batch), lowered(graph, "fp32")
    executor = TorchExecutor(plan, constants, CPU, allow_tf32)
    before = fused.calls if fused else 0
    assert_close(executor.run(x), interpret(graph, x), [2e-3 if allow_tf32 else 1e-5])
    return fused.calls - before if fused else 0


@pytest.mark.parametrize("batch", [1, 3])
def test_it_is_tried_first(batch: int, fused: type[Fused]) -> None:
    assert calls_of(fused, batch=batch) == 4


@pytest.mark.parametrize(("factor", "with_residual", "left"), [(1.1, 1.1, 0), (1.1, 1.0, 2), (1.0, 1.1, 2)])
def test_where_it_is_wrong_another_one_runs(factor: float, with_residual: float, left: int, fused: type[Fused]) -> None:
    """Each convolution is tried as it is run: with a residual, or without one."""
    fused.factor, fused.factor_with_residual = factor, with_residual
    assert calls_of(fused) == left


@pytest.mark.parametrize("allowed", [False, True])
def test_products_that_are_rounded(allowed: bool, fused: type[Fused]) -> None:
    """As TF32 rounds them, where that is allowed."""
    fused.factor = fused.factor_with_residual = 1 + 2.0**-12
    assert calls_of(fused, allowed) == 4 * allowed


@pytest.mark.parametrize("batch", [1, 3])
def test_a_device_without_one(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_backend, "fused_conv", lambda device, dtype: None)
    calls_of(batch=batch)
