"""Settings shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

if not torch.cuda.is_available():
    # Triton decides when it is imported; nothing here has done so yet, and child processes inherit it.
    os.environ.setdefault("TRITON_INTERPRET", "1")
# Test processes side by side share the cores.
torch.set_num_threads(max(1, torch.get_num_threads() // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))))


@pytest.fixture(autouse=True)
def _inference_without_surprises() -> Iterator[None]:
    """Every test starts from one seed, and leaves the global settings that it may have touched as they were."""
    torch.manual_seed(0)
    dtype, deterministic = torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_default_dtype(dtype)
    torch.use_deterministic_algorithms(deterministic)


LONGEST_FIRST = (
    "tests/backends/test_families.py",
    "tests/dropin/test_packages.py",
    "tests/cuda/test_emulated_conformance.py",
    "tests/triton/test_compile.py",
    "tests/backends/test_conformance.py",
    "tests/backends/test_int8.py",
    "tests/triton/test_packages.py",
    "tests/graph/passes/test_families.py",
    "tests/models/test_live_activations.py",
)
"""Files of a minute and more: a process that were given one last would end long after the others."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts long files first, and skips what is marked ``gpu`` where there is no CUDA device."""
    places = {file: place for place, file in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
