"""The CUDA kernels without a GPU: every test here that is not marked ``gpu`` runs them in the emulator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inception_fast.backends import get_backend
from inception_fast.backends.cuda import EMULATE, native


@pytest.fixture(autouse=True)
def where_kernels_run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("gpu"):
        monkeypatch.delenv(EMULATE, raising=False)
    else:
        monkeypatch.setenv(EMULATE, "1")
    availability = get_backend("cuda").availability()
    if not availability.available:
        pytest.skip(availability.reason)


@pytest.fixture(autouse=True)
def usual_emulator() -> Iterator[None]:
    """What a test has changed about the emulator does not last."""
    yield
    try:
        emulator = native(emulate=True)
    except ImportError:
        return
    emulator.set_omission(emulator.Omission.none)
    emulator.set_limits()
    emulator.set_reversed(False)


@pytest.fixture
def backend() -> str:
    """In the place of the conformance suite's fixture of that name."""
    return "cuda"


@pytest.fixture(params=["fp32", "bf16", "fp16"])
def precision(request: pytest.FixtureRequest) -> str:
    return request.param
