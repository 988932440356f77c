"""The same kernels on a real device, under CUDA graphs: the contract of ``backends/base.py`` where it needs one."""

from __future__ import annotations

import threading

import pytest
import torch

from inception_fast.backends import Executor, get_backend
from tests.backends.cases import CASES
from tests.backends.harness import assert_close, lowered, network_input, truth_and_bounds
from tests.triton.blocks import block, pool_before_narrowing, stem

pytestmark = pytest.mark.gpu


NETWORKS = CASES | {"block": block, "stem": stem, "pool_before_narrowing": pool_before_narrowing}
"""Steps one by one, and such as share launches."""


def _executor(name: str, precision: str, device: torch.device, **options: bool) -> Executor:
    availability = get_backend("triton").availability()
    if not availability.available or "cuda" not in get_backend("triton").devices():
        pytest.skip(availability.reason or "TRITON_INTERPRET is set")
    plan, constants = lowered(NETWORKS[name](), precision)
    return get_backend("triton").compile(plan, constants, device=device, precision=precision, **options)


@pytest.fixture(params=range(max(1, torch.cuda.device_count())), ids="cuda:{}".format)
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every device in turn, none of them made the current one."""
    return torch.device("cuda", request.param)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_step(name: str, precision: str, device: torch.device) -> None:
    graph = NETWORKS[name]()
    x = network_input(graph, precision)
    truth, bounds = truth_and_bounds(graph, precision, x)
    executor = _executor(name, precision, device)
    executor.run(torch.full_like(x, float("nan"), device=device))
    for _ in range(2):
        got = [a.cpu().reshape(b.shape) for a, b in zip(executor.run(x.to(device)), truth, strict=True)]
        assert_close(got, truth, bounds)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["conv_3x3_wide", "merged_siblings", "factorized_pairs", "embedding_head", "block"])
def test_batch_invariance(name: str, precision: str, device: torch.device) -> None:
    executor = _executor(name, precision, device, batch_invariant=True)
    x = network_input(NETWORKS[name](), precision, batch=7).to(device)
    alone = [torch.cat(parts) for parts in zip(*(executor.run(image) for image in x.split(1)), strict=True)]
    for batch, order in ((x, slice(None)), (x[2:], slice(2, None)), (x[:5], slice(5))):
        for a, b in zip(executor.run(batch), alone, strict=True):
            assert torch.equal(a, b[order])


@pytest.mark.parametrize("name", ["merged_siblings", "block"])
def test_threads_on_their_own_streams(name: str, device: torch.device) -> None:
    graph = NETWORKS[name]()
    executor = _executor(name, "fp32", device)
    inputs = [network_input(graph, batch=1 + i % 3).to(device) for i in range(6)]
    expected = [executor.run(x) for x in inputs]
    torch.cuda.synchronize(device)
    failures: list[int] = []

    def call(index: int) -> None:
        stream = torch.cuda.Stream(device)
        with torch.cuda.stream(stream):
            for _ in range(5):
                got = executor.run(inputs[index])
                stream.synchronize()
                if not all(torch.equal(a, b) for a, b in zip(got, expected[index], strict=True)):
                    failures.append(index)

    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(inputs))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_recorded_by_the_caller(device: torch.device) -> None:
    """A caller's own CUDA graph, with an input in another layout than the executor's own recordings have."""
    executor = _executor("conv_3x3_wide", "fp16", device)
    x = network_input(CASES["conv_3x3_wide"](), "fp16").to(device).contiguous()
    want = executor.run(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(device), torch.cuda.graph(graph):
        got = executor.run(x)
    for result in got:
        result.fill_(float("nan"))
    graph.replay()
    torch.cuda.synchronize(device)
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
