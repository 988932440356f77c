"""Depthwise convolutions, adaptive pools, softmax, local response norm, gates and functions: what the conformance suite
does not see.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from inception_fast.backends.cuda import CudaExecutor
from inception_fast.graph import ir
from inception_fast.graph.interpreter import interpret
from inception_fast.plan.plan import Constant, ConvStep, DepthwiseStep, Plan
from inception_fast.plan.serialize import plan_to_json
from tests.backends.cases import CASES
from tests.backends.harness import CPU, assert_close, lowered, make_executor, network_input
from tests.cpu.single_step import Problem, Target, expected, plan_of, run_guarded, values_of
from tests.cuda.driving import DTYPES, Emulated, emulator
from tests.cuda.test_conv_tile_exact import wide_problem
from tests.graph.build import Build

NEW = ("functions", "conv_functions", "depthwise", "adaptive_pools", "softmax", "local_response", "gates")
HAVE_PRODUCTS = {"conv_functions", "depthwise", "gates"}


def depthwise_problem(rng: random.Random) -> Problem:
    """As many channels out as in, to one slice."""
    problem, start = wide_problem(rng), rng.choice([0, 8, rng.randint(0, 20)])
    target = Target(0, start, problem.in_channels, rng.random() < 0.5)
    widths = start + problem.in_channels + rng.choice([0, 1, 8]), 3
    return replace(problem, targets=(target,), widths=widths, residual_start=None)


def as_depthwise(plan: Plan) -> Plan:
    step = plan.steps[-1]
    assert isinstance(step, ConvStep)
    conv, (target,) = step.conv, step.destinations
    own = DepthwiseStep(step.name, step.source, target, conv.weight, conv.bias, conv.taps, conv.stride)
    weight = Constant((len(conv.taps), conv.in_channels), plan.dtype)
    return replace(plan, steps=(*plan.steps[:-1], own), constants={**plan.constants, conv.weight: weight})


@pytest.mark.parametrize("precision", DTYPES)
def test_depthwise_is_exact(precision: str) -> None:
    """As a convolution whose weights between different channels are zero."""
    rng, dtype = random.Random(precision), DTYPES[precision]
    for _ in range(60):
        problem = depthwise_problem(rng)
        plan = as_depthwise(plan_of(problem, str(dtype).removeprefix("torch.")))
        x, constants = values_of(problem, plan, integers=True)
        dense = {**constants, "tested.w": torch.diag_embed(constants["tested.w"]).transpose(0, 1)}
        layout = rng.choice([torch.contiguous_format, torch.channels_last])
        driver = rng.choice(["stage", "network"])
        executor = Emulated(plan, constants, precision, driver)
        results = run_guarded(executor, plan, x.to(dtype).contiguous(memory_format=layout))
        for got, want in zip(results, expected(problem, x, dense, dtype), strict=True):
            assert torch.equal(got, want.to(dtype)), problem


@pytest.mark.parametrize("driver", ["stage", "network"])
@pytest.mark.parametrize("name", NEW)
def test_an_image_has_the_same_bits_in_any_batch(name: str, driver: str, precision: str) -> None:
    graph = CASES[name]()
    plan, constants = lowered(graph, precision)
    x = network_input(graph, precision, batch=5)
    stage = CudaExecutor(plan, constants, CPU, precision, "stage")
    alone = [torch.cat(parts) for parts in zip(*(stage.run(image) for image in x.split(1)), strict=True)]
    executor = CudaExecutor(plan, constants, CPU, precision, driver)
    for a, b in zip(executor.run(x), alone, strict=True):
        assert torch.equal(a, b)
    for a, b in zip(executor.run(x.flip(0)[2:]), alone, strict=True):
        assert torch.equal(a, b.flip(0)[2:])


def chain() -> ir.Graph:
    """Each kind behind others, so that the network driver's tiles have something to wait for."""
    build = Build(5, 23, 19)
    wide = build.conv("x", 40, (3, 3), relu=True)
    fewer = build.node(ir.AdaptiveAvgPool((7, 5)), wide)
    more = build.node(ir.AdaptiveMaxPool((31, 13)), fewer)
    strided = ir.DepthwiseConv2d(build.param(40, 1, 5, 4), None, (2, 3), (2, 1, 2, 2), (1, 2), True)
    deep = build.node(strided, more)
    normal = build.node(ir.LocalResponseNorm(5, 0.5, 0.75, 1.0), build.conv(deep, 29))
    shares = build.node(ir.Softmax(), normal)
    squeezed = build.conv(build.node(ir.AdaptiveMaxPool((1, 1)), normal), 29)
    plane = build.conv(shares, 1, (3, 3))
    return build.graph(build.node(ir.Gate(), build.node(ir.Gate(), normal, squeezed), plane), shares)


@pytest.mark.parametrize("batch", [1, 3])
def test_the_network_driver_waits_for_what_is_read(batch: int) -> None:
    """The emulator looks at each access. One image gives steps fewer tiles than there are blocks."""
    graph = chain()
    plan, constants = lowered(graph, "fp16")
    emulator().set_limits(resident_blocks=50)
    x = network_input(graph, "fp16", batch)
    want = CudaExecutor(plan, constants, CPU, "fp16", "stage").run(x)
    for a, b in zip(CudaExecutor(plan, constants, CPU, "fp16", "network").run(x), want, strict=True):
        assert torch.equal(a, b)
    truth = interpret(graph, x.double())
    assert_close(want, truth, [0.02] * 2)


@pytest.mark.parametrize("name, outputs", [(n, 99) for n in NEW if n not in HAVE_PRODUCTS] + [("depthwise", 4)])
def test_nan_and_infinity_travel(name: str, outputs: int, backend: str) -> None:
    """Through what is no matrix product, ``outputs`` of each network."""
    graph = CASES[name]()
    executor, x = make_executor(backend, graph), network_input(graph, batch=2)
    x[0, 3, 2, 1], x[1, 4, 0, 0], x[1, 5, 1, 3] = float("nan"), float("-inf"), float("inf")
    results = list(zip(executor.run(x), interpret(graph, x.double()), strict=True))[:outputs]
    for got, want in results:
        shaped = got.view(want.shape)
        assert torch.equal(shaped.isnan(), want.isnan())
        assert torch.equal(shaped.isinf(), want.isinf())
        assert torch.equal(shaped[shaped.isinf()].double(), want[want.isinf()])


def test_vectors_that_a_thread_reads() -> None:
    """As the time model counts them, one by one and in fp16: eight channels each."""
    build = Build(300, 9, 10)
    outputs = [
        build.node(ir.DepthwiseConv2d(build.param(300, 1, 3, 3), None, (1, 1), (1, 1, 1, 1), (1, 1)), "x"),
        build.node(ir.AdaptiveMaxPool((4, 3)), "x"),
        build.node(ir.Softmax(), "x"),
        build.node(ir.LocalResponseNorm(5, 1e-4, 0.75, 1.0), "x"),
        build.node(ir.Gate(), "x", "x"),
    ]
    plan, _ = lowered(build.graph(*outputs), "fp16")
    module = emulator()
    launches, _ = module.describe(plan_to_json(plan), 1, "fp16", "stage", module.MachineConstants())
    steps = {step.name: step for steps in launches for step in steps}
    assert [steps[name].reads for name in outputs] == [18, 12, 6, 3, 2]
    assert steps[outputs[0]].weight_bytes == 9 * 300 * 2
