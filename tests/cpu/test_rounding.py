"""Algorithms by how much of the rounding that they add reaches the outputs."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast.backends.cpu import CpuExecutor
from inception_fast.bench.accuracy import allowed
from inception_fast.errors import InputError
from inception_fast.plan.plan import MOST_SENSITIVE, Sensitivity
from inception_fast.plan.serialize import plan_to_json
from tests.cpu.single_step import plan_of, random_problem, values_of, window


class Cancelling(nn.Module):
    """Two towers of 3x3 convolutions whose results are nearly the same, and what is left of their difference."""

    def __init__(self, difference: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 32, 3, padding=1)
        self.left = nn.Sequential(*(nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()) for _ in range(2)))
        self.right = copy.deepcopy(self.left)
        with torch.no_grad():
            for weight in self.right.parameters():
                weight.add_(weight.abs().mean() * difference * torch.randn_like(weight))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        return self.left(x) - self.right(x)


def algorithms(fast: ifast.FastModel) -> set[str]:
    (_, executor), *_ = fast._executors.values()
    assert isinstance(executor, CpuExecutor)
    return {op.algorithm for op in executor.report()}


def relative(result: torch.Tensor, truth: torch.Tensor) -> float:
    return float((result.double() - truth).norm() / truth.norm())


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("difference", [1e-1, 1e-2, 1e-3, 1e-4])
@torch.no_grad()
def test_a_network_that_cancels_keeps_the_promise(difference: float, precision: str) -> None:
    model, x = Cancelling(difference).eval(), torch.rand(2, 3, 40, 40)
    truth = copy.deepcopy(model).double()(x.double())
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    eager = relative(copy.deepcopy(model).to(dtype)(x.to(dtype)), truth)
    fast = ifast.optimize(model, x, backend="cpu", precision=precision)
    assert relative(fast(x), truth) <= allowed(precision, eager)
    if precision == "fp32":
        fastest = ifast.optimize(model, x, backend="cpu", accuracy="fast")
        assert relative(fastest(x), truth) > 1.5 * allowed(precision, eager), "the network is too easy"


@torch.no_grad()
def test_three_ways_to_be_accurate() -> None:
    model, x = Cancelling(1e-3).eval(), torch.rand(2, 3, 40, 40)
    ways = {a: ifast.optimize(model, x, backend="cpu", accuracy=a) for a in ("fast", "promise", "eager")}
    assert any("6x6" in a for a in algorithms(ways["fast"]))
    assert not any("6x6" in a for a in algorithms(ways["promise"]))
    assert not any("F(" in a for a in algorithms(ways["eager"]))
    truth = copy.deepcopy(model).double()(x.double())
    errors = {a: relative(fast(x), truth) for a, fast in ways.items()}
    assert errors["fast"] > 2 * errors["promise"] and errors["fast"] > 2 * errors["eager"]
    assert "limit_rounding" in str(ways["promise"].report())


@torch.no_grad()
def test_nothing_is_slower_where_nothing_is_amplified() -> None:
    model, x = Cancelling(1.0).eval(), torch.rand(2, 3, 40, 40)
    ways = [ifast.optimize(model, x, backend="cpu", accuracy=a) for a in ("fast", "promise")]
    assert algorithms(ways[0]) == algorithms(ways[1]) and any("F(" in a for a in algorithms(ways[0]))


def test_what_was_measured_goes_with_the_engine(tmp_path: Path) -> None:
    model, x = Cancelling(1e-3).eval(), torch.rand(1, 3, 40, 40)
    for backend in ("cpu", "torch"):
        fast = ifast.optimize(model, x, backend=backend)
        fast.save(tmp_path / "model.ifast")
        loaded = ifast.load(tmp_path / "model.ifast", backend="cpu")
        assert plan_to_json(loaded.plan) == plan_to_json(fast.plan)
        assert not any("6x6" in a for a in algorithms(loaded))


def test_an_accuracy_that_there_is_not() -> None:
    with pytest.raises(InputError, match=r"accuracy: got 'best', expected one of 'promise', 'eager', 'fast'"):
        ifast.optimize(nn.Conv2d(3, 4, 3).eval(), torch.rand(1, 3, 8, 8), accuracy="best")


@pytest.mark.parametrize("sensitivity", [0.0, 1e2, 1e5, 1e9, MOST_SENSITIVE])
def test_tiles_shrink_as_sensitivity_grows(isa: str, sensitivity: float) -> None:
    """What an algorithm is known to add, times the sensitivity, is about 1 at most."""
    known = {"F(2x2, 3x3)": 1e-7, "F(4x4, 3x3)": 5e-7, "F(6x6, 3x3)": 2e-6, "F(4, 3)": 2e-7, "F(6, 3)": 4e-7}
    rng = random.Random(0)
    for _ in range(10):
        problem = random_problem(rng, window(3, 3), (1, 1))
        plan = plan_of(problem)
        steps = tuple(
            replace(s, conv=replace(s.conv, sensitivity=Sensitivity(sensitivity, 0.0))) if hasattr(s, "conv") else s
            for s in plan.steps
        )
        plan = replace(plan, steps=steps)
        _, constants = values_of(problem, plan, False)
        constants = {k: v.to(getattr(torch, plan.constants[k].dtype)) for k, v in constants.items()}
        for op in CpuExecutor(plan, constants, isa=isa).report():
            error = next((e for name, e in known.items() if op.algorithm.startswith(name)), 0.0)
            assert sensitivity * error < 1, op.algorithm
