"""The backends that the tests of the public face run over."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast.backends import get_backend, names
from tests.integrations.networks import network, photos


@pytest.fixture(params=names())
def backend(request: pytest.FixtureRequest) -> str:
    """A backend that takes CPU tensors on this machine."""
    availability = ifast.backends()[request.param]
    if not availability.available or "cpu" not in get_backend(request.param).devices():
        pytest.skip(f"{request.param}: {availability.reason or 'takes no CPU tensors here'}")
    return request.param


@pytest.fixture
def model() -> nn.Module:
    return network()


@pytest.fixture
def fast(model: nn.Module) -> ifast.FastModel:
    return ifast.optimize(model, photos(1))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
