"""The backends and precisions that every conformance test runs over."""

from __future__ import annotations

import pytest

from inception_fast.backends import get_backend, names
from tests.backends.harness import CPU, here_on_the_cpu


@pytest.fixture(params=names())
def backend(request: pytest.FixtureRequest) -> str:
    """A backend that takes CPU tensors on this machine."""
    return here_on_the_cpu(request.param)


@pytest.fixture(params=["fp32", "bf16", "fp16"])
def precision(request: pytest.FixtureRequest, backend: str) -> str:
    if request.param not in get_backend(backend).precisions(CPU):
        pytest.skip(f"{backend} does not serve {request.param} on the CPU")
    return request.param


QUICK_ON_TRITON = (
    ("googlenet", "fp32"),
    ("googlenet", "bf16"),
    ("inception_v3", "fp32"),
    ("inception_resnet_v1", "bf16"),
)
"""Networks that Triton's interpreter runs in some seconds."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what takes Triton's interpreter long as slow: the other networks, and pairs image by image."""
    for item in items:
        found = getattr(item, "callspec", None)
        if found is None or found.params.get("backend") != "triton":
            continue
        test, case = item.name.partition("[")[0], (found.params.get("name"), found.params.get("precision"))
        slow_network = test == "test_family" and case not in QUICK_ON_TRITON
        slow_pairs = test == "test_batch_invariance" and case in (("factorized_pairs", p) for p in ("fp16", "bf16"))
        if slow_network or slow_pairs:
            item.add_marker(pytest.mark.slow)
