"""The two readers of engine files."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from inception_fast.plan.engine_file import CANONICAL, read_engine_bytes

Reader = Callable[[bytes], object]


@pytest.fixture(params=["python", "cpp"])
def read(request: pytest.FixtureRequest) -> Reader:
    """Reads the contents of a file with either reader."""
    if request.param == "python":
        return read_engine_bytes
    native = pytest.importorskip("inception_fast._native")
    return lambda data: native.read_engine_bytes(data, CANONICAL)
