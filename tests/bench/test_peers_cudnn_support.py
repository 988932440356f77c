"""cuDNN's own word, where its Python package is installed, on what it has kernels for; on a GPU, the peer itself."""

from __future__ import annotations

import json

import pytest
import torch

from inception_fast.bench.accuracy import compare, flatten, true_outputs
from inception_fast.bench.peers import PEERS, Task
from inception_fast.bench.peers import cudnn as peer
from inception_fast.bench.peers.cudnn_problem import Problem, Tensors, describe
from inception_fast.bench.peers.cudnn_steps import Run, Steps
from inception_fast.graph import ir
from inception_fast.lowering.lower import lower
from inception_fast.plan.engine_file import PRECISIONS
from tests.bench.nets import FAMILY_PARAMETERS, images, small
from tests.graph.build import Build
from tests.graph.families import family_graph

SM_90 = {
    "deviceName": "NVIDIA H200",
    "deviceVer": 900,
    "driverVer": 13000,
    "driverVersion": 13000,
    "cudaDeviceId": 0,
    "pciDeviceId": 0,
    "multiProcessorCount": 132,
    "smCountOrigin": 0,
    "maxGridSize": [2147483647, 65535, 65535],
    "maxBlockSize": [1024, 1024, 64],
    "warpSize": 32,
    "regsPerBlock": 65536,
    "maxRegistersPerSM": 65536,
    "maxThreadsPerBlock": 1024,
    "maxThreadsPerSM": 2048,
    "maxCtasPerSM": 32,
    "maxSharedMemoryPerBlock": 49152,
    "maxSharedMemoryPerBlockOptin": 232448,
    "oversizedSharedMemoryPerBlock": 0,
    "reservedSharedMemoryPerBlock": 1024,
    "smClockRateKHz": 1980000,
    "memClockRateKHz": 3201000,
    "l2CacheSize": 62914560,
    "totalGlobalMem": 150000000000,
    "isTccDriver": 0,
    "supportCoopLaunch": 1,
}
"""A device for cuDNN's heuristics and engines to judge by; its own format, which it may change."""


@pytest.fixture(scope="module")
def cudnn():
    return pytest.importorskip("cudnn", reason="nvidia-cudnn-frontend is not installed")


@pytest.fixture(scope="module")
def device(cudnn):
    try:
        return cudnn.create_device_properties(json.dumps(SM_90))
    except (AttributeError, RuntimeError) as error:
        pytest.skip(f"this cuDNN does not take the description of a device: {error}")


def problems_of(graph: ir.Graph, precision: str) -> set[Problem]:
    """Every different convolution of a prepared graph, for a batch of two."""
    plan, constants = lower(graph, PRECISIONS[precision])
    found: set[Problem] = set()

    def make(problem: Problem, tensors: Tensors) -> Run:
        found.add(problem)
        return lambda: None

    x = torch.zeros(2, *graph.input.op.shape, dtype=getattr(torch, plan.dtype))  # type: ignore[attr-defined]
    Steps(plan, constants, peer.widened(x), make)
    return found


@pytest.mark.parametrize("precision", ["fp16", "bf16", "tf32", "fp32"])
@pytest.mark.parametrize("name", FAMILY_PARAMETERS)
def test_cudnn_has_plans_for_every_convolution_in_place(name: str, precision: str, cudnn, device) -> None:
    dtype = getattr(torch, PRECISIONS[precision])
    for problem in problems_of(peer.fused(family_graph(name)), precision):
        graph = describe(cudnn, problem, dtype, device_property=device)
        assert next(peer.usable_plans(cudnn, graph, exact=precision == "fp32"), None), problem


def test_exactness_leaves_fewer_plans(cudnn, device) -> None:
    build = Build(64, 17, 17)
    build.conv("x", 96, (3, 3), bias=True, relu=True)
    (problem,) = problems_of(build.graph(), "fp32")
    exact, rounded = (
        list(peer.usable_plans(cudnn, describe(cudnn, problem, torch.float32, device_property=device), exact))
        for exact in (True, False)
    )
    assert 0 < len(exact) < len(rounded)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
@torch.no_grad()
def test_on_a_gpu(precision: str, cudnn) -> None:
    task = Task(small(), images(4), precision, torch.device("cuda"), threads=1)
    bound = {"fp32": 1e-5, "tf32": 5e-3, "fp16": 1e-2, "bf16": 6e-2}[precision]
    (contestant,) = PEERS["cudnn"](task)
    for _ in range(3):
        assert compare(flatten(contestant.run()), true_outputs(task.model, task.images)).relative_l2 < bound
