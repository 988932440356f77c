"""Every kernel on a device, launch by launch, with no CUDA graph around it: what compute-sanitizer is run over.

A graph cannot be recorded while every tensor has an allocation of its own (``PYTORCH_NO_CUDA_MEMORY_CACHING=1``), which
is what shows an access one past the end.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from inception_fast.backends import Executor, get_backend
from inception_fast.plan.plan import Plan
from tests.backends.cases import CASES
from tests.backends.harness import assert_close, lowered, network_input, truth_and_bounds

pytestmark = pytest.mark.gpu

Make = Callable[[Plan, dict[str, torch.Tensor], torch.device, str], Executor]


def _triton(plan: Plan, constants: dict[str, torch.Tensor], device: torch.device, precision: str) -> Executor:
    from inception_fast.backends.triton_executor import TritonExecutor

    return TritonExecutor(plan, constants, device, precision, False)


def _cuda(driver: str) -> Make:
    def make(plan: Plan, constants: dict[str, torch.Tensor], device: torch.device, precision: str) -> Executor:
        from inception_fast.backends.cuda import CudaExecutor

        return CudaExecutor(plan, constants, device, precision, driver)

    return make


MAKERS: dict[str, tuple[str, Make]] = {
    "triton": ("triton", _triton),
    **{f"cuda-{driver}": ("cuda", _cuda(driver)) for driver in ("stage", "pair", "network")},
}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("name", CASES)
def test_launch(name: str, maker: str, precision: str) -> None:
    backend, make = MAKERS[maker]
    availability = get_backend(backend).availability()
    if not availability.available or "cuda" not in get_backend(backend).devices():
        pytest.skip(availability.reason or f"{backend} runs on CPU tensors here")
    graph = CASES[name]()
    plan, constants = lowered(graph, precision)
    x = network_input(graph, precision)
    truth, bounds = truth_and_bounds(graph, precision, x, ulps=2)
    device = torch.device("cuda", torch.cuda.current_device())
    results = make(plan, constants, device, precision).run(x.to(device))
    assert_close([a.cpu().reshape(b.shape) for a, b in zip(results, truth, strict=True)], truth, bounds)
