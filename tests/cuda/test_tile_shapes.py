"""Every shape of tiles gives the same bits; a layer's shape follows the batch, and the bytes it saves are counted."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch

from benchmarks.close_reading import inception_v3
from inception_fast.backends.cuda import native
from inception_fast.graph import ir
from inception_fast.plan.serialize import plan_to_json
from tests.backends.harness import lowered, network_input
from tests.cpu.single_step import Problem, expected, plan_of, run_guarded, values_of
from tests.cuda.driving import DTYPES, Emulated, emulator
from tests.cuda.test_conv_tile_exact import wide_problem
from tests.graph.build import Build

SHAPES: list[tuple[int, int]] = native(emulate=True).tile_shapes()
NAMES = [f"{rows}x{columns}" for rows, columns in SHAPES]
# Those of fp32 that stage kernels have registers for.
CASES = [(p, s) for p in ("fp16", "tf32", "fp32") for s in range(len(SHAPES)) if p != "fp32" or s < 2]
PROBLEMS = 4
"""Per shape and precision."""


def vector_problem(rng: random.Random) -> Problem:
    """One whose source is whole vectors in every precision, as every shape takes it."""
    problem = wide_problem(rng)
    channels = rng.choice([8, 24, 64, 72, 200])
    return replace(
        problem, inner=True, in_channels=channels, source_start=rng.choice([0, 8]), source_channels=channels + 16
    )


@pytest.mark.parametrize(("precision", "shape"), CASES, ids=[f"{p}-{NAMES[s]}" for p, s in CASES])
def test_exact(precision: str, shape: int) -> None:
    """On small integers, against the definition of a convolution; every other time on many multiprocessors."""
    rng, dtype = random.Random(precision), DTYPES[precision]
    counters = 0
    for index in range(PROBLEMS):
        emulator().set_limits((4, 132)[index % 2])
        problem = vector_problem(rng)
        plan = plan_of(problem, str(dtype).removeprefix("torch."))
        x, constants = values_of(problem, plan, integers=True)
        executor = Emulated(plan, constants, precision, "stage", f"shape={NAMES[shape]},waves=2")
        assert dict(executor.native.tile_shapes(problem.batch))["tested"] == shape
        counters += executor.native.counter_bytes(problem.batch)
        for got, want in zip(
            run_guarded(executor, plan, x.to(dtype)), expected(problem, x, constants, dtype), strict=True
        ):
            assert torch.equal(got, want.to(dtype)), problem
    assert counters > 0, "no segments"


def vector_network() -> ir.Graph:
    """Long sums over whole vectors, behind a convolution that reads the caller's input."""
    build = Build(8, 6, 5)
    first = build.conv("x", 256, relu=True)
    branches = [build.conv(first, 72, (3, 3), bias=True, relu=True), build.conv(first, 40, relu=True)]
    build.conv(build.node(ir.Concat(in_place=True), *branches), 64, (3, 3), bias=True)
    graph = build.graph()
    for parameter in graph.params.values():
        if parameter.dim() > 1:
            parameter *= parameter[0].numel() ** -0.5
    return graph


def test_bits_depend_on_no_shape() -> None:
    """Nor on the driver, on real numbers, with a block for each segment and with one for all of a tile's."""
    graph = vector_network()
    plan, constants = lowered(graph, "fp16")
    emulator().set_limits(6)
    x = network_input(graph, "fp16", 12)
    usual = Emulated(plan, constants, "fp16", "stage", f"shape={NAMES[0]},waves=2")
    assert usual.native.counter_bytes(1) > 0 == usual.native.counter_bytes(12)
    (want,) = run_guarded(usual, plan, x)
    for shape, name in enumerate(NAMES):
        for driver in ("stage", "network"):
            executor = Emulated(plan, constants, "fp16", driver, f"shape={name},waves=2")
            # The first reads the caller's input, element by element; the network's registers are too few for the last.
            served = shape if driver == "stage" or shape < 2 else 0
            assert [chosen for _, chosen in executor.native.tile_shapes(1)] == [0, served, served, served]
            (got,) = run_guarded(executor, plan, x[:1])
            assert torch.equal(got[0], want[0]), (name, driver)
        (got,) = run_guarded(Emulated(plan, constants, "fp16", "stage", f"shape={name},waves=2"), plan, x)
        assert torch.equal(got, want), name


def machine_of(**constants: float) -> Any:
    """An H100, but for some of its constants."""
    machine = native(emulate=True).MachineConstants()
    for name, value in constants.items():
        setattr(machine, name, value)
    return machine


def operand_bytes(batch: int, **constants: float) -> tuple[float, set[tuple[int, int]]]:
    """What the convolutions of Inception-v3 in fp16 read through L2, and the shapes of their tiles."""
    plan, machine = plan_to_json(inception_v3()), machine_of(**constants)
    launches, _ = native(emulate=True).describe(plan, batch, "fp16", "stage", machine)
    convs = [step for steps in launches for step in steps if step.chunks > 0]
    shapes = {(step.code.rows, step.code.columns) for step in convs}
    tiles = [(s.blocks * s.chunks, (s.code.rows + s.code.columns) * s.code.chunk_bytes) for s in convs]
    return sum(chunks * size for chunks, size in tiles), shapes


def test_bytes_through_l2() -> None:
    """65 GB at batch 128 with the shapes of batch 1 on chunks of 64 bytes; 5.6 GB if each byte were read once."""
    large, shapes = operand_bytes(128)
    assert large < 40e9 and SHAPES[-1] in shapes
    small, shapes = operand_bytes(1)
    assert SHAPES[0] in shapes and small * 128 > large


def launch_times(batch: int, options: str = "", **constants: float) -> list[float]:
    """What the model says of each launch of Inception-v3 in fp16, in microseconds."""
    plan, machine = plan_to_json(inception_v3()), machine_of(**constants)
    return [t.total for t in native(emulate=True).predict(plan, batch, "fp16", "stage", machine, options)]


@pytest.mark.parametrize("batch", [1, 8, 128])
def test_no_shape_for_all_is_quicker_than_the_choice(batch: int) -> None:
    """Launch by launch, by the model that chooses; in small batches some launch mixes them."""
    chosen = launch_times(batch)
    alike = [launch_times(batch, f"shape={name}") for name in NAMES]
    best = [min(times) for times in zip(*alike, strict=True)]
    assert all(own <= other for own, other in zip(chosen, best, strict=True))
    assert sum(chosen) < sum(best) or batch == 128


def test_the_choice_goes_by_the_machine() -> None:
    """Where L2 is slow, larger tiles, which read less through it."""
    usual, slow = operand_bytes(8), operand_bytes(8, l2_bandwidth=1.0)
    assert slow[0] < usual[0]
