"""The same kernels on a real device, against PyTorch in float64 and against their own bits by another way."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from inception_fast.backends import get_backend
from inception_fast.backends.cuda import CudaExecutor, Driver
from tests.backends.cases import CASES
from tests.backends.harness import assert_close, lowered, network_input, truth_and_bounds
from tests.cuda.packages_check import check_package

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
    """As near float64 as PyTorch's operators are, the same bits from all drivers, twice, and through a CUDA graph."""
    graph = CASES[name]()
    plan, constants = lowered(graph, precision)
    x = network_input(graph, precision)
    truth, bounds = truth_and_bounds(graph, precision, x, ulps=2)
    stage, *others = (CudaExecutor(plan, constants, device, precision, driver) for driver in get_args(Driver))
    graphed = get_backend("cuda").compile(plan, constants, device=device, precision=precision)
    x = x.to(device)
    first = stage.run(x)
    assert_close([got.cpu().reshape(want.shape) for got, want in zip(first, truth, strict=True)], truth, bounds)
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
