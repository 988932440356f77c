"""Reference networks, built once a session: building one costs up to two seconds."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import pytest
from torch import nn

from inception_fast.models import create_model

ModelFor = Callable[[str], nn.Module]


@pytest.fixture(scope="session")
def model_for() -> ModelFor:
    """``name -> create_model(name)``. Shared, so tests must not change what they get."""
    return lru_cache(maxsize=None)(create_model)
