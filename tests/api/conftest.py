"""The backends that the tests of the public face run over."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast.backends import names
from inception_fast.compilation import build
from inception_fast.graph.capture import Captured, capture
from tests.backends.harness import here_on_the_cpu
from tests.integrations.networks import network, photos


@pytest.fixture(params=names())
def backend(request: pytest.FixtureRequest) -> str:
    """A backend that takes CPU tensors on this machine."""
    return here_on_the_cpu(request.param)


@pytest.fixture
def model() -> nn.Module:
    return network()


@cache
def captured() -> Captured:
    return capture(network(), photos(1))


@pytest.fixture
def fast() -> ifast.FastModel:
    """The ``model`` optimized, all but its capture anew."""
    return build(captured(), photos(1), "fp32", "auto")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
