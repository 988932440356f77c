"""The backends and precisions that every conformance test runs over."""

from __future__ import annotations

import pytest

from inception_fast.backends import get_backend, names
from tests.backends.harness import CPU


@pytest.fixture(params=names())
def backend(request: pytest.FixtureRequest) -> str:
    """A backend that takes CPU tensors on this machine."""
    found = get_backend(request.param)
    availability = found.availability()
    if not availability.available or "cpu" not in found.devices():
        pytest.skip(f"{request.param}: {availability.reason or 'takes no CPU tensors here'}")
    return request.param


@pytest.fixture(params=["fp32", "bf16", "fp16"])
def precision(request: pytest.FixtureRequest, backend: str) -> str:
    if request.param not in get_backend(backend).precisions(CPU):
        pytest.skip(f"{backend} does not serve {request.param} on the CPU")
    return request.param
