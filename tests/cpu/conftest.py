"""Every test here runs the compiled kernels; where there are none, all are skipped."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import torch

from inception_fast.backends import get_backend

ISAS = ("portable", "avx2", "avx512")


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> str:
    """An instruction set that was built and runs here."""
    from inception_fast.backends.cpu import native

    if request.param not in native().instruction_sets():
        pytest.skip(f"{request.param} was not built or does not run here")
    return request.param


@pytest.fixture(autouse=True)
def _needs_native() -> None:
    availability = get_backend("cpu").availability()
    if not availability.available:
        pytest.skip(availability.reason)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For PyTorch, of which the executors' threads are independent: tensors here are too small for a second one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def _needs_dot(isa: str) -> None:
    """Products of bfloat16 that the processor has an instruction for."""
    from tests.cpu.single_step import make_native, plan_of, random_problem

    plan = plan_of(random_problem(random.Random(0)), "bfloat16")
    zeros = {name: torch.zeros(constant.shape) for name, constant in plan.constants.items()}
    if "dot products" not in make_native(plan, zeros, isa, algorithm="direct").report()[-1].algorithm:
        pytest.skip("the bfloat16 dot product does not run here")
