"""Sums over K in segments, on a device that has more multiprocessors than the networks here have tiles."""

from __future__ import annotations

import random
from typing import get_args

import pytest
import torch

from inception_fast.backends.cuda import Driver
from inception_fast.graph import ir
from tests.backends.harness import lowered, network_input
from tests.cpu.single_step import Problem, expected, plan_of, run_guarded, values_of
from tests.cuda.driving import DTYPES, Emulated, emulator
from tests.cuda.test_conv_tile_exact import wide_problem
from tests.graph.build import Build

SHAPES = 12
"""Per precision."""


@pytest.fixture(autouse=True)
def large_device() -> None:
    emulator().set_limits(132)


def deep_problem(rng: random.Random) -> Problem:
    """One whose K is long enough for segments."""
    while True:
        problem = wide_problem(rng)
        if problem.in_channels * len(problem.taps) > 1200:
            return problem


@pytest.mark.parametrize("precision", DTYPES)
def test_exact(precision: str) -> None:
    """Small integers, of which every sum is exact, against the definition of a convolution."""
    rng, dtype = random.Random(precision), DTYPES[precision]
    for _ in range(SHAPES):
        problem = deep_problem(rng)
        plan = plan_of(problem, str(dtype).removeprefix("torch."))
        x, constants = values_of(problem, plan, integers=True)
        executor = Emulated(plan, constants, precision)
        assert executor.native.counter_bytes(problem.batch) > 0, "no segments"
        emulator().set_reversed(rng.random() < 0.5)
        results = run_guarded(executor, plan, x.to(dtype))
        for got, want in zip(results, expected(problem, x, constants, dtype), strict=True):
            assert torch.equal(got, want.to(dtype)), problem


def deep_network() -> ir.Graph:
    """Branches of different depths side by side, and a pair with a residual on all of them."""
    build = Build(200, 7, 5)
    branches = [build.conv("x", 40, (3, 3), bias=True, relu=True), build.conv("x", 33, (1, 1), relu=True)]
    joined = build.node(ir.Concat(in_place=True), *branches, build.conv("x", 160, (5, 5), bias=True))
    middle = build.conv(joined, 170, (1, 7), bias=True, relu=True)
    build.conv(middle, 200, (7, 1), bias=True, relu=True, residual="x")
    second, first = build.nodes.pop(), build.nodes.pop()
    build.node(ir.ConvPair(first.op, second.op), joined, "x")  # type: ignore[arg-type]
    graph = build.graph()
    for parameter in graph.params.values():
        if parameter.dim() > 1:
            parameter *= parameter[0].numel() ** -0.5
    return graph


def test_bits_depend_on_neither_driver_batch_nor_order() -> None:
    graph = deep_network()
    plan, constants = lowered(graph, "fp16")
    executors = [Emulated(plan, constants, "fp16", driver) for driver in get_args(Driver)]
    stage = executors[0]
    x = network_input(graph, "fp16", 40)
    assert stage.native.counter_bytes(1) > stage.native.counter_bytes(40) == 0, "one block goes through all segments"
    (want,) = run_guarded(stage, plan, x)
    for index in (0, 11):
        for backwards in (False, True):
            emulator().set_reversed(backwards)
            for executor in executors:
                (got,) = run_guarded(executor, plan, x[index : index + 1])
                assert torch.equal(got[0], want[index]), (index, backwards)


def test_a_stage_of_pairs_has_no_segments() -> None:
    """A cluster computes a pair by itself: nobody's sums wait for it, and no block is there in vain."""
    build = Build(200, 7, 5)
    middle = build.conv("x", 170, (1, 7), bias=True, relu=True)
    build.conv(middle, 200, (7, 1), bias=True, relu=True)
    second, first = build.nodes.pop(), build.nodes.pop()
    build.node(ir.ConvPair(first.op, second.op), "x")  # type: ignore[arg-type]
    plan, constants = lowered(build.graph(), "fp16")
    assert Emulated(plan, constants, "fp16", "stage").native.counter_bytes(1) > 0, "K is long enough for segments"
    assert Emulated(plan, constants, "fp16", "pair").native.counter_bytes(1) == 0


def test_segments_change_the_rounding() -> None:
    """Else the tests above would prove nothing: on one multiprocessor a sum is a single segment."""
    graph = deep_network()
    plan, constants = lowered(graph, "fp32")
    x = network_input(graph, "fp32", 1)
    (split,) = run_guarded(Emulated(plan, constants, "fp32"), plan, x)
    emulator().set_limits(1)
    (whole,) = run_guarded(Emulated(plan, constants, "fp32"), plan, x)
    assert not torch.equal(split, whole)
    assert torch.allclose(split, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("omission", ["block_barrier", "async_wait"])
def test_every_barrier_matters(omission: str) -> None:
    graph = deep_network()
    plan, constants = lowered(graph, "fp16")
    executor = Emulated(plan, constants, "fp16")
    emulator().set_omission(getattr(emulator().Omission, omission))
    with pytest.raises(emulator().Fault, match=r"kernel stage_fp16, block \d+, thread \d+: "):
        run_guarded(executor, plan, network_input(graph, "fp16", 1))
