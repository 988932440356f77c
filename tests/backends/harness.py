"""What the conformance tests share: making executors, running them on poisoned memory, and comparing."""

from __future__ import annotations

import pytest
import torch

from inception_fast.backends import Executor, get_backend
from inception_fast.graph import ir
from inception_fast.graph.interpreter import interpret
from inception_fast.lowering.lower import lower
from inception_fast.plan.engine_file import PRECISIONS
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
    if graph.input.op.bytes:
        return torch.randint(0, 256, (batch, *graph.input.op.shape), dtype=torch.uint8)
    return torch.randn(batch, *graph.input.op.shape).to(getattr(torch, PRECISIONS[precision]))


def poison(x: torch.Tensor) -> torch.Tensor:
    """An input like ``x`` that must not be seen again: NaN, of bytes the last."""
    return torch.full_like(x, float("nan") if x.is_floating_point() else 255)


def run(
    executor: Executor, plan_graph: ir.Graph, x: torch.Tensor, dtype: torch.dtype | None = None
) -> list[torch.Tensor]:
    """The outputs in the graph's shapes; the executor has seen NaN before, so what it left in its memory shows.

    Args:
        dtype: of the outputs; by default the input's, or float32 of bytes.
    """
    executor.run(poison(x))
    results = executor.run(x)
    wanted = dtype or (x.dtype if x.is_floating_point() else torch.float32)
    for t in results:
        assert t.dtype == wanted and t.is_contiguous(memory_format=torch.channels_last)
    return [
        t.flatten(1) if len(plan_graph.shapes[o]) == 1 else t for o, t in zip(plan_graph.outputs, results, strict=True)
    ]


def truth_and_bounds(
    graph: ir.Graph, precision: str, x: torch.Tensor, ulps: float = 1
) -> tuple[list[torch.Tensor], list[float]]:
    """The outputs in float64 by PyTorch's own operators on NCHW tensors, and how far from them a backend may be: twice
    as far as those operators are in ``x``'s dtype, and some ulps. Nothing of it has been lowered.

    In half precision the truth is of weights that are rounded already, which is what all of them compute with.
    """
    rounded, dtype = graph, getattr(torch, PRECISIONS[precision])
    if precision != "fp32":
        rounded = ir.Graph(graph.nodes, graph.outputs, {k: v.to(dtype) for k, v in graph.params.items()})
    truth, eager = interpret(rounded, x.contiguous()), interpret(rounded, x.contiguous(), dtype)
    # Winograd's transforms may add to float32's rounding.
    floor = 5e-6 if precision == "fp32" else ulps * torch.finfo(dtype).eps
    return truth, [2 * relative_error(a.double(), b) + floor for a, b in zip(eager, truth, strict=True)]


def assert_close(got: list[torch.Tensor], truth: list[torch.Tensor], bounds: list[float]) -> None:
    for index, (a, b, bound) in enumerate(zip(got, truth, bounds, strict=True)):
        assert relative_error(a.double(), b) <= bound, f"output {index}"
