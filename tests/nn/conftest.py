"""Fixtures of the drop-in modules' tests."""

from __future__ import annotations

import pytest
from torch import nn

import inception_fast as ifast
from inception_fast.models.googlenet import Inception
from tests.nn.modules import lively


@pytest.fixture
def block() -> nn.Module:
    """To 20 channels, of 12."""
    return lively(Inception(12, 4, 6, 8, 2, 4, 4))


@pytest.fixture
def fast(block: nn.Module) -> ifast.nn.InceptionBlock:
    return ifast.nn.InceptionBlock.from_torch(block)
