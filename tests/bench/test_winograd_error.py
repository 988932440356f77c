"""What ``benchmarks.winograd_error`` says of a tile."""

from __future__ import annotations

import pytest
import torch

from benchmarks.winograd_error import DIRECT, DOT, error, multiplications
from inception_fast.backends import get_backend


@pytest.mark.parametrize(
    "algorithm, kernel, ratio",
    [
        ("direct", (3, 3), 1.0),
        ("F(4, 3) horizontal", (1, 3), 6 / 12),
        ("F(3, 4) horizontal", (1, 7), 2 * 6 / 21),
        ("F(4, 3) horizontal", (3, 3), 6 / 12),
        ("F(2x2, 3x3)", (3, 3), 16 / 36),
        ("F(6x6, 3x3)", (5, 5), 4 * 64 / 900),
    ],
)
def test_multiplications(algorithm: str, kernel: tuple[int, int], ratio: float) -> None:
    assert multiplications(algorithm, kernel) == pytest.approx(ratio)


def test_errors_are_in_the_order_of_the_roundings() -> None:
    if not get_backend("cpu").availability().available:
        pytest.skip("the cpu backend was not built")
    exact, tile = (error(a, (1, 7), torch.float32) for a in (DIRECT, "F(3, 7) horizontal"))
    assert exact is not None and tile is not None and 0 < exact < tile < 1e-5
    rounded = error(DIRECT + DOT, (1, 7), torch.bfloat16)
    assert rounded is None or 1e-3 < rounded < 4e-3
    assert error("F(9, 9)", (1, 7), torch.float32) is None
