"""What passes ask before they fold, and how they name what they make."""

from __future__ import annotations

import pytest
import torch

from inception_fast.graph.rewrite import fresh_name, overflows


@pytest.mark.parametrize(
    ("weight", "scale", "grows"),
    [
        (1.0, 65504.0, False),
        (1.0, -65536.0, True),
        (300.0, 300.0, True),
        (-300.0, 200.0, False),
        (1e6, 1.0, False),
        (1e6, 1.5, True),
        (1e6, 0.5, False),
        (0.0, 1e30, False),
        (0.0, float("inf"), True),
        (1.0, float("-inf"), True),
    ],
)
def test_what_leaves_half_precision(weight: float, scale: float, grows: bool) -> None:
    """A number of the model's own beyond it may stay as it is, and no larger."""
    weights, scales = torch.zeros(2, 3, dtype=torch.float64), torch.zeros(2, 1, dtype=torch.float64)
    weights[1, 2], scales[1] = weight, scale
    assert overflows(weights, scales) is grows


def test_another_limit() -> None:
    ten = torch.full((1,), 10.0, dtype=torch.float64)
    assert overflows(ten, ten, limit=99.0) and not overflows(ten, ten, limit=100.0)


@pytest.mark.parametrize(
    ("taken", "name"), [([], "conv"), (["conv_1"], "conv"), (["conv"], "conv_1"), (["conv", "conv_1"], "conv_2")]
)
def test_names_that_are_not_taken(taken: list[str], name: str) -> None:
    assert fresh_name("conv", taken) == name
