"""The contract of ``backends/base.py``, held against every backend here. A new one joins by being registered."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from inception_fast.graph.interpreter import interpret
from inception_fast.plan.engine_file import PRECISIONS
from inception_fast.plan.plan import Plan
from tests.backends.cases import CASES
from tests.backends.harness import assert_close, lowered, make_executor, network_input, run, truth_and_bounds


@pytest.mark.parametrize("name", CASES)
def test_step(name: str, backend: str, precision: str) -> None:
    graph = CASES[name]()
    x = network_input(graph, precision)
    truth, bounds = truth_and_bounds(graph, precision, x)
    dtype = getattr(torch, PRECISIONS[precision])
    assert_close(run(make_executor(backend, graph, precision), graph, x, dtype), truth, bounds)


@pytest.mark.parametrize("batch", [1, 2, 5, 8])
@pytest.mark.parametrize("name", ["merged_siblings", "pools_in_concat", "factorized_pairs"])
def test_batch_sizes_on_one_executor(name: str, batch: int, backend: str) -> None:
    graph = CASES[name]()
    executor = make_executor(backend, graph)
    for size in (batch, 1, batch):
        x = network_input(graph, batch=size)
        truth = interpret(graph, x.double())
        assert_close(run(executor, graph, x), truth, [5e-6] * len(truth))


def layouts(x: torch.Tensor) -> Iterator[torch.Tensor]:
    """The values of ``x`` in memory of many kinds."""
    n, c, h, w = x.shape
    yield x.contiguous(memory_format=torch.channels_last)
    spoiled = float("nan") if x.is_floating_point() else 255
    wide = torch.full((n + 1, c + 2, h + 3, w + 1), spoiled, dtype=x.dtype)
    inner = wide[1:, 1 : c + 1, 2 : h + 2, :w]
    inner.copy_(x)
    yield inner
    yield x.flip(3).flip(3).transpose(2, 3).contiguous().transpose(2, 3)
    flat = torch.empty(x.numel() + 1, dtype=x.dtype)[1:].view(x.shape)
    yield flat.copy_(x)
    if n > 1:
        yield torch.stack([x, x], dim=1)[:, 0]


@pytest.mark.parametrize(
    "name", ["conv_3x3_stem", "merged_siblings", "max_pools", "repeated_outputs", "pads", "input_of_bytes"]
)
def test_any_input_layout(name: str, backend: str) -> None:
    graph = CASES[name]()
    executor, x = make_executor(backend, graph), network_input(graph)
    truth = interpret(graph, x.double())
    for other in layouts(x):
        assert torch.equal(other, x)
        assert_close(run(executor, graph, other), truth, [5e-6] * len(truth))
    repeated = x[:1].expand(3, -1, -1, -1)
    assert_close(run(executor, graph, repeated), interpret(graph, repeated.double()), [5e-6] * len(truth))


def test_nan_and_infinity_travel(backend: str) -> None:
    """A NaN pixel spoils what looks at it and nothing else; a max pool and a ReLU keep it."""
    build_graph = CASES["max_pools"]()
    executor, x = make_executor(backend, build_graph), network_input(build_graph, batch=2)
    x[0, 3, 5, 6], x[1, 4, 0, 0] = float("nan"), float("-inf")
    for got, want in zip(run(executor, build_graph, x), interpret(build_graph, x.double()), strict=True):
        assert torch.equal(got.isnan(), want.isnan())
        assert torch.equal(got.nan_to_num(7.0), want.float().nan_to_num(7.0))


@pytest.mark.parametrize("name", ["merged_siblings", "residual", "embedding_head"])
def test_same_input_same_bits_in_new_memory(name: str, backend: str, precision: str) -> None:
    graph = CASES[name]()
    executor, x = make_executor(backend, graph, precision), network_input(graph, precision)
    first = executor.run(x)
    kept = [t.clone() for t in first]
    executor.run(network_input(graph, precision) + 1)
    again = executor.run(x)
    for a, b, c in zip(first, kept, again, strict=True):
        assert torch.equal(a, b), "a later call wrote over an earlier result"
        assert torch.equal(b, c), "the bits changed from run to run"


@pytest.mark.parametrize("name", ["conv_3x3_wide", "conv_1x1", "merged_siblings", "factorized_pairs", "embedding_head"])
def test_batch_invariance(name: str, backend: str, precision: str) -> None:
    graph = CASES[name]()
    executor = make_executor(backend, graph, precision, batch_invariant=True)
    x = network_input(graph, precision, batch=7)
    alone = [torch.cat(parts) for parts in zip(*(executor.run(image) for image in x.split(1)), strict=True)]
    for a, b in zip(executor.run(x), alone, strict=True):
        assert torch.equal(a, b)
    for a, b in zip(executor.run(x.flip(0)[2:]), alone, strict=True):
        assert torch.equal(a, b.flip(0)[2:])


def test_concurrent_callers(backend: str) -> None:
    graph = CASES["merged_siblings"]()
    executor = make_executor(backend, graph)
    inputs = [network_input(graph, batch=1 + i % 3) for i in range(6)]
    expected = [executor.run(x) for x in inputs]
    failures: list[str] = []

    def call(index: int) -> None:
        for _ in range(5):
            got = executor.run(inputs[index])
            if not all(torch.equal(a, b) for a, b in zip(got, expected[index], strict=True)):
                failures.append(f"caller {index}")

    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(inputs))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


@pytest.mark.parametrize("name", ["merged_siblings", "repeated_outputs", "embedding_head", "max_pools"])
@pytest.mark.parametrize("batch_invariant", [False, True])
def test_results_in_the_callers_memory(name: str, batch_invariant: bool, backend: str) -> None:
    """Every subset of the output buffers; what is given comes back as it is, and holds the same bits."""
    graph = CASES[name]()
    executor, x = make_executor(backend, graph, batch_invariant=batch_invariant), network_input(graph)
    expected, plan = executor.run(x), lowered(graph, "fp32")[0]
    buffers = sorted({o.buffer for o in plan.outputs})
    for kept in (buffers, buffers[:1], []):
        out = {i: torch.full_like(_of_buffer(plan, expected, i), float("nan")) for i in kept}
        results = executor.run(x, out)
        for o, got, want in zip(plan.outputs, results, expected, strict=True):
            assert torch.equal(got, want) and (o.buffer not in out or got is out[o.buffer])


def _of_buffer(plan: Plan, results: list[torch.Tensor], buffer: int) -> torch.Tensor:
    return next(t for o, t in zip(plan.outputs, results, strict=True) if o.buffer == buffer)
