"""Every test here runs the compiled kernels; where there are none, all are skipped."""

from __future__ import annotations

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
