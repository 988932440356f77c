"""Executors of one network for several image sizes: what they share, and that nothing shows of it in their results."""

from __future__ import annotations

import ctypes
import gc
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from inception_fast.backends import get_backend
from inception_fast.backends.base import Executor
from inception_fast.backends.shared import Shared
from inception_fast.compilation import make_engine
from inception_fast.graph.capture import capture
from inception_fast.models.googlenet import Inception
from inception_fast.models.layers import BasicConv2d
from inception_fast.plan.engine_file import EngineFile
from tests.backends.harness import CPU, here_on_the_cpu
from tests.nn.modules import lively

SIZES = [(17, 19), (5, 7), (33, 18), (1, 1)]
SMALL = [(5, 7), (2, 3)]
ALIKE = [(40, 40), (44, 40)]
"""For which ``cpu`` chooses the same algorithms."""
CHANNELS = 20


def module() -> nn.Module:
    """Direct convolutions, Winograd's, one of the caller's image, products for several destinations."""
    return lively(
        nn.Sequential(BasicConv2d(CHANNELS, 24, kernel_size=3, padding=1), Inception(24, 16, 24, 32, 8, 16, 8))
    )


def engine_of(network: nn.Module, size: tuple[int, int], precision: str, backend: str) -> EngineFile:
    x = torch.zeros(1, CHANNELS, *size)
    return make_engine(capture(network, x), x, precision, get_backend(backend).lowering)


def compiled(engine: EngineFile, precision: str, backend: str, shared: Shared | None) -> Executor:
    return get_backend(backend).compile(engine.plan, engine.constants, device=CPU, precision=precision, shared=shared)


def test_bits_are_those_of_executors_that_share_nothing(backend: str, precision: str) -> None:
    network, shared, executors = module(), Shared(), []
    for size in SIZES if backend == "cpu" else SMALL:
        engine = engine_of(network, size, precision, backend)
        pair = [compiled(engine, precision, backend, s) for s in (shared, None)]
        executors.append((engine, torch.randn(2, CHANNELS, *size), *pair))
    # In turn, so that each finds what another one has left in memory that they share.
    for _ in range(2 if backend == "cpu" else 1):
        for engine, images, sharing, alone in executors:
            x = images.to(getattr(torch, engine.plan.io_dtype))
            for got, expected in zip(sharing.run(x), alone.run(x), strict=True):
                assert torch.equal(got, expected) and expected.count_nonzero()


@pytest.mark.parametrize("backend", ["cpu", "reference", "triton"])
def test_what_is_packed_alike_is_one(backend: str) -> None:
    network, shared = module(), Shared()
    sizes = ALIKE if backend == "cpu" else SMALL
    engines = [engine_of(network, size, "bf16", here_on_the_cpu(backend)) for size in sizes]
    engines[1] = replace(engines[1], constants={k: engines[0].constants[k] for k in engines[1].constants})
    first, second = (compiled(e, "bf16", backend, shared) for e in engines)
    common = set(first.packed).intersection(second.packed)
    assert common and sum(first.packed[key] for key in common) > first.weight_bytes / 4


def pieces(executors: list[Executor]) -> dict[object, int]:
    return {key: size for e in executors for key, size in e.packed.items()}


def test_a_size_costs_no_weights() -> None:
    """Beyond the layouts that no size before it needed."""
    network, shared = module(), Shared()
    engines = [engine_of(network, (height, 40), "fp32", "cpu") for height in (40, 44, 48)]
    # Canonical constants are one copy.
    executors = [compiled(e, "fp32", "cpu", shared) for e in engines]
    algorithms = [[r.algorithm for r in e.report()] for e in executors]
    assert algorithms[0] == algorithms[1] == algorithms[2] and len(set(algorithms[0])) > 2
    alone = executors[0].weight_bytes
    assert alone > sum(t.nbytes for t in engines[0].constants.values())
    assert [e.weight_bytes for e in executors] == [alone] * 3 and sum(pieces(executors).values()) == alone
    other = compiled(engines[0], "fp32", "cpu", Shared())
    assert sum(pieces([*executors, other]).values()) == 2 * alone


def test_other_layouts_are_packed_beside() -> None:
    """A convolution that is direct at one size and Winograd's at another."""
    network, shared = module(), Shared()
    large, small = (compiled(engine_of(network, s, "fp32", "cpu"), "fp32", "cpu", shared) for s in [(40, 40), (2, 2)])
    kinds = [{(r.step, r.algorithm) for r in e.report()} for e in (large, small)]
    assert kinds[0] - kinds[1] and kinds[0] & kinds[1]
    both = sum(pieces([large, small]).values())
    assert max(large.weight_bytes, small.weight_bytes) < both < large.weight_bytes + small.weight_bytes


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_other_weights_are_not_taken_for_the_same(backend: str) -> None:
    """A single weight, in memory that the allocator may have given twice."""
    network, shared = module(), Shared()
    executors = []
    for value in (0.0, 0.5, -0.0, 1.0):
        with torch.no_grad():
            network[0].conv.weight[3, 4, 1, 1] = value
        engine = engine_of(network, (9, 8), "bf16", backend)
        executors.append(compiled(engine, "bf16", backend, shared))
        x = torch.randn(1, CHANNELS, 9, 8, generator=torch.Generator().manual_seed(2)).bfloat16()
        assert torch.equal(executors[-1].run(x)[0], compiled(engine, "bf16", backend, None).run(x)[0])
        del engine
        gc.collect()


def test_weights_go_with_the_last_executor() -> None:
    network, shared = module(), Shared()
    engine = engine_of(network, (11, 13), "fp32", "cpu")
    first = compiled(engine, "fp32", "cpu", shared)
    (address, *_) = first.packed
    second = compiled(engine, "fp32", "cpu", shared)
    x = torch.randn(1, CHANNELS, 11, 13)
    expected = first.run(x)[0].clone()
    del first
    gc.collect()
    assert address in second.packed and torch.equal(second.run(x)[0], expected)


def test_calls_of_all_sizes_share_their_memory() -> None:
    network, shared = module(), Shared()
    executors = [compiled(engine_of(network, s, "fp32", "cpu"), "fp32", "cpu", shared) for s in SIZES]
    alone = [compiled(engine_of(network, s, "fp32", "cpu"), "fp32", "cpu", None) for s in SIZES]
    for size, *pair in zip(SIZES, executors, alone, strict=True):
        for executor in pair:
            executor.run(torch.randn(2, CHANNELS, *size))
    working = {e.working_bytes for e in executors}
    assert len(working) == 1 and max(e.working_bytes for e in alone) <= working.pop() < sum(
        e.working_bytes for e in alone
    )


def resident() -> int:
    """Bytes of this process in memory, less what its allocator could give back."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_what_is_counted_is_what_the_process_holds() -> None:
    network = lively(nn.Sequential(*(BasicConv2d(CHANNELS if i == 0 else 512, 512, kernel_size=3) for i in range(4))))
    engines = [engine_of(network, size, "fp32", "cpu") for size in [(40, 41), (44, 47)]]
    compiled(engine_of(module(), (9, 9), "fp32", "cpu"), "fp32", "cpu", None).run(torch.zeros(1, CHANNELS, 9, 9))
    shared, held, executors = Shared(), [resident()], []
    for engine in engines:
        executors.append(compiled(engine, "fp32", "cpu", shared))
        held.append(resident())
    counted = executors[0].weight_bytes
    assert counted > 4 * sum(t.nbytes for t in engines[0].constants.values()) / 3
    assert executors[0].packed == executors[1].packed
    # Pages at the ends of blocks are not counted.
    assert abs(held[1] - held[0] - counted) < counted / 16 and held[2] - held[1] < counted / 32
