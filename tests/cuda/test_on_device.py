"""The same kernels on a real device, against the reference and against their own bits by another way."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from inception_fast.backends import get_backend
from inception_fast.backends.cuda import CudaExecutor, Driver
from inception_fast.backends.reference import ReferenceExecutor
from inception_fast.graph.interpreter import interpret
from tests.backends.cases import CASES
from tests.backends.harness import lowered, network_input
from tests.cuda.driving import DTYPES
from tests.cuda.packages_check import check_package
from tests.graph.check import relative_error

pytestmark = pytest.mark.gpu
PACKAGES = {
    "torchvision-inception_v3-transform": "torchvision",
    "torchvision-googlenet": "torchvision",
    "timm-inception_v4": "timm",
    "timm-inception_resnet_v2": "timm",
    "facenet-embedding": "facenet_pytorch",
    "pytorch-fid": "pytorch_fid",
}
"""Networks, and the package that each comes from."""


@pytest.fixture
def device() -> torch.device:
    availability = get_backend("cuda").availability()
    if not availability.available:
        pytest.skip(availability.reason)
    return torch.device("cuda", torch.cuda.current_device())


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("name", CASES)
def test_case(name: str, precision: str, device: torch.device) -> None:
    """As near float64 as the reference is, the same bits from all drivers, twice, and through a CUDA graph."""
    graph = CASES[name]()
    plan, constants = lowered(graph, precision)
    x = network_input(graph, precision)
    truth = interpret(graph, x.double())
    reference = ReferenceExecutor(plan, constants, torch.device("cpu")).run(x)
    floor = 5e-6 if precision == "fp32" else 2 * torch.finfo(DTYPES[precision]).eps
    stage, *others = (CudaExecutor(plan, constants, device, precision, driver) for driver in get_args(Driver))
    graphed = get_backend("cuda").compile(plan, constants, device=device, precision=precision)
    x = x.to(device)
    first = stage.run(x)
    for got, expected, want in zip(first, reference, truth, strict=True):
        bound = 2 * relative_error(expected.double().reshape(want.shape), want) + floor
        assert relative_error(got.cpu().double().reshape(want.shape), want) <= bound
    for executor in (stage, *others, graphed):
        for again in (executor.run(x), executor.run(x)):
            assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("name", PACKAGES)
def test_packages(name: str, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(PACKAGES[name])
    check_package(name, None, device, monkeypatch)


@pytest.mark.parametrize("driver", get_args(Driver))
def test_streams_side_by_side(driver: str, device: torch.device) -> None:
    graph = CASES["merged_siblings"]()
    plan, constants = lowered(graph, "fp16")
    executor = CudaExecutor(plan, constants, device, "fp16", driver)
    x = network_input(graph, "fp16").to(device)
    want = executor.run(x)
    streams = [torch.cuda.Stream() for _ in range(4)]
    results = []
    for stream in streams * 5:
        stream.wait_stream(torch.cuda.default_stream())
        with torch.cuda.stream(stream):
            results.append(executor.run(x))
    torch.cuda.synchronize()
    for got in results:
        assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
