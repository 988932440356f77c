"""The contract that every backend keeps, held against the CUDA kernels in the emulator."""

from __future__ import annotations

import pytest

from inception_fast.models import list_models
from tests.backends.test_conformance import (  # noqa: F401
    test_any_input_layout,
    test_batch_invariance,
    test_batch_sizes_on_one_executor,
    test_concurrent_callers,
    test_nan_and_infinity_travel,
    test_same_input_same_bits_in_new_memory,
    test_step,
)
from tests.backends.test_families import test_family as check_family
from tests.backends.test_pool_sizes import test_long_averages  # noqa: F401

QUICK = {("googlenet", "fp32"), ("inception_v2", "bf16"), ("inception_v3", "bf16"), ("inception_resnet_v1", "bf16")}


@pytest.mark.parametrize(
    "name, precision",
    [
        pytest.param(name, precision, marks=() if (name, precision) in QUICK else pytest.mark.slow)
        for name in list_models()
        for precision in ("fp32", "bf16")
    ],
)
def test_family(name: str, precision: str, backend: str) -> None:
    check_family(name, precision, backend)
