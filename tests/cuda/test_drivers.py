"""Pairs that stay together and the whole network in one launch give the stage driver's bits; the network driver's
waits are what makes that so.
"""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from inception_fast.backends import get_backend
from inception_fast.backends.cuda import CudaExecutor, Driver
from inception_fast.graph import ir
from inception_fast.graph.capture import capture
from inception_fast.graph.passes import optimize_graph
from inception_fast.models import create_model, list_models
from inception_fast.photos import load_photos
from tests.backends.cases import CASES
from tests.backends.harness import CPU, lowered, network_input
from tests.backends.test_families import SIZES
from tests.cpu.single_step import run_guarded
from tests.cuda.driving import DTYPES, Emulated, emulator
from tests.graph.check import relative_error


def assert_same(graph: ir.Graph, x: torch.Tensor, precision: str) -> torch.Tensor:
    plan, constants = lowered(graph, precision)
    want = CudaExecutor(plan, constants, CPU, precision, "stage").run(x)
    for driver in get_args(Driver)[1:]:
        got = CudaExecutor(plan, constants, CPU, precision, driver).run(x)
        for a, b in zip(want, got, strict=True):
            assert torch.equal(a, b), driver
    return want[0]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_case(name: str, batch: int) -> None:
    graph = CASES[name]()
    assert_same(graph, network_input(graph, "fp16", batch), "fp16")


def test_missing_waits_show() -> None:
    """One image gives each step fewer tiles than there are blocks, so later steps run beside earlier ones."""
    graph = CASES["factorized_pairs"]()
    plan, constants = lowered(graph, "fp16")
    executor, x = Emulated(plan, constants, "fp16", "network"), network_input(graph, "fp16", 1)
    (want,) = run_guarded(executor, plan, x)
    assert not want.isnan().any()
    emulator().set_omission(emulator().Omission.counter_wait)
    with pytest.raises(emulator().Fault, match=r"which block \d+ wrote .* with no release and acquire between"):
        run_guarded(executor, plan, x)


@pytest.mark.parametrize("resident", [1, 2, 7, 1000])
def test_any_number_of_resident_blocks(resident: int) -> None:
    """From one block, which runs every tile, to more than there are tiles."""
    graph = CASES["pools_in_concat"]()
    plan, constants = lowered(graph, "fp16")
    x = network_input(graph, "fp16", 3)
    (want,) = run_guarded(Emulated(plan, constants, "fp16", "stage"), plan, x)
    emulator().set_limits(resident_blocks=resident)
    emulator().take_counts()
    (got,) = run_guarded(Emulated(plan, constants, "fp16", "network"), plan, x)
    blocks = emulator().take_counts().blocks
    assert blocks == resident if resident < 1000 else 7 < blocks < resident
    assert torch.equal(got, want)


def prepared(name: str, size: int, batch: int) -> tuple[ir.Graph, torch.nn.Module, torch.Tensor]:
    model, x = create_model(name), load_photos(size, batch)
    graph, _ = optimize_graph(capture(model, x).graph, get_backend("cuda").lowering)
    return graph, model, x


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == "inception_v3" else pytest.mark.slow) for n in list_models()]
)
def test_family(name: str) -> None:
    graph, _, x = prepared(name, SIZES.get(name, 79), 1)
    assert_same(graph, x.bfloat16(), "bf16")


@pytest.mark.slow
def test_inception_v3_at_full_size() -> None:
    """At most twice the error of PyTorch eager in half precision; tiles and segments as on an H100 or H200."""
    emulator().set_limits(132)
    graph, model, x = prepared("inception_v3", 299, 1)
    got = assert_same(graph, x.half(), "fp16").flatten(1)
    with torch.no_grad():
        truth = model.double()(x.double())
        eager = model.half()(x.half()).double()
    assert relative_error(got.double(), truth) <= 2 * relative_error(eager, truth)


def test_every_precision() -> None:
    graph = CASES["pools_in_concat"]()
    for precision, dtype in DTYPES.items():
        assert_same(graph, network_input(graph).to(dtype), precision)
