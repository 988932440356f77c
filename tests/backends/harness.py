"""What the conformance tests share: making executors, running them on poisoned memory, and comparing."""

from __future__ import annotations

import pytest
import torch

from inception_fast.backends import Executor, get_backend
from inception_fast.graph import ir
from inception_fast.plan.engine_file import PRECISIONS
from inception_fast.plan.lower import lower
from inception_fast.plan.plan import Plan
from tests.graph.check import relative_error

CPU = torch.device("cpu")


def here_on_the_cpu(backend: str) -> str:
    """``backend``, if it takes CPU tensors on this machine; skips the test where not."""
    found = get_backend(backend)
    availability = found.availability()
    if not availability.available or "cpu" not in found.devices():
        pytest.skip(f"{backend}: {availability.reason or 'takes no CPU tensors here'}")
    return backend


def lowered(graph: ir.Graph, precision: str) -> tuple[Plan, dict[str, torch.Tensor]]:
    return lower(graph, PRECISIONS[precision])


def make_executor(backend: str, graph: ir.Graph, precision: str = "fp32", **options: bool) -> Executor:
    plan, constants = lowered(graph, precision)
    return get_backend(backend).compile(plan, constants, device=CPU, precision=precision, **options)


def network_input(graph: ir.Graph, precision: str = "fp32", batch: int = 3) -> torch.Tensor:
    assert isinstance(graph.input.op, ir.Input)
    return torch.randn(batch, *graph.input.op.shape).to(getattr(torch, PRECISIONS[precision]))


def run(executor: Executor, plan_graph: ir.Graph, x: torch.Tensor) -> list[torch.Tensor]:
    """The outputs in the graph's shapes; the executor has seen NaN before, so what it left in its memory shows."""
    executor.run(torch.full_like(x, float("nan")))
    results = executor.run(x)
    for t in results:
        assert t.dtype == x.dtype and t.is_contiguous(memory_format=torch.channels_last)
    return [
        t.flatten(1) if len(plan_graph.shapes[o]) == 1 else t for o, t in zip(plan_graph.outputs, results, strict=True)
    ]


def assert_close(got: list[torch.Tensor], truth: list[torch.Tensor], bounds: list[float]) -> None:
    for index, (a, b, bound) in enumerate(zip(got, truth, bounds, strict=True)):
        assert relative_error(a.double(), b) <= bound, f"output {index}"
