"""Every test here runs the compiled kernels; where there are none, all are skipped."""

from __future__ import annotations

import pytest

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
