"""Steps in words."""

from __future__ import annotations

import pytest

from inception_fast.explain.labels import TIMES, common_name, stride, window
from inception_fast.plan.plan import Convolution


def convolution(taps: list[tuple[int, int]], pace: tuple[int, int] = (1, 1)) -> Convolution:
    return Convolution("w", None, 1, 1, tuple(taps), pace)


def test_windows() -> None:
    square = [(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1)]
    cross = [(0, -1), (-1, 0), (0, 0), (1, 0), (0, 1)]
    assert window(convolution(square, (2, 2))) == f"3{TIMES}3/2"
    assert window(convolution([(0, c) for c in range(-3, 4)])) == f"1{TIMES}7"
    assert window(convolution(cross)) == f"3{TIMES}3 (5 taps)"


@pytest.mark.parametrize(("pair", "words"), [((1, 1), ""), ((2, 2), "/2"), ((1, 2), f"/1{TIMES}2")])
def test_strides(pair: tuple[int, int], words: str) -> None:
    assert stride(pair) == words


@pytest.mark.parametrize(
    ("names", "common"),
    [
        (["Mixed_5b.branch1x1.relu", "Mixed_5b.branch_pool"], "Mixed_5b"),
        (["repeat.1.a", "repeat.1.b"], "repeat.1"),
        (["conv1.relu", "pool", "fc"], "conv1 … fc"),
        (["conv1.relu"], "conv1"),
        (["branch1x1", "branch1x1_b"], "branch1x1 … branch1x1_b"),
    ],
)
def test_common_names_end_at_a_dot(names: list[str], common: str) -> None:
    assert common_name(names) == common
