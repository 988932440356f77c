"""Distances to the truth, and what is allowed."""

from __future__ import annotations

from collections import namedtuple
from math import inf, isnan, nan

import numpy as np
import pytest
import torch
from torch import nn

from inception_fast.bench.accuracy import (
    FP32_FLOOR,
    INT8_ERROR,
    INT8_REGRET,
    Error,
    agrees,
    allowed,
    compare,
    flatten,
    plausible,
    true_outputs,
    within,
)

TRUTH = [torch.tensor([[3.0, 4.0], [0.0, 5.0]], dtype=torch.float64)]


def test_the_relative_error_by_hand() -> None:
    error = compare([TRUTH[0] + torch.tensor([[0.0, 0.5], [0.0, 0.0]])], TRUTH)
    assert error.relative_l2 == pytest.approx(0.5 / 50**0.5)
    assert (error.max_abs, error.top1) == (0.5, 1.0)


def test_top1_counts_images() -> None:
    assert compare([TRUTH[0].flip(1)], TRUTH).top1 == 0.0
    assert compare([torch.tensor([[3.0, 4.0], [6.0, 5.0]]).double()], TRUTH).top1 == 0.5
    features = [torch.ones(1, 2, 3, 3).double()]
    assert compare(features, features).top1 is None


def test_regret_is_what_the_entry_that_was_named_lacks() -> None:
    assert compare(TRUTH, TRUTH).regret == 0.0
    # The first image loses 1 of a root mean square of sqrt(12.5), the second nothing.
    near = compare([torch.tensor([[4.0, 3.0], [0.0, 5.0]]).double()], TRUTH)
    assert near.regret == pytest.approx(1 / 12.5**0.5)
    zeros = [torch.zeros(1, 3).double()]
    assert compare([zeros[0] + torch.eye(3)[2]], zeros).regret == 0.0


def test_int8_may_exchange_entries_that_are_nearly_equal() -> None:
    truth = torch.randn(2, 1000, generator=torch.Generator().manual_seed(0)).double()
    top = truth.topk(2, 1).indices
    for gap, kept in ((0.5 * INT8_REGRET, True), (2 * INT8_REGRET, False)):
        first = truth.gather(1, top[:, 1:]) + gap
        wanted = truth.scatter(1, top[:, :1], first)
        named = wanted.scatter(1, top[:, 1:], first + 1e-3)
        error = compare([named], [wanted])
        assert error.top1 == 0.0 and within(error, INT8_ERROR)
        assert agrees("int8", error) == kept and agrees("bf16", error)


def test_the_worst_output_counts() -> None:
    small, large = torch.ones(1, 4).double(), 1e6 * torch.ones(1, 4).double()
    assert compare([small * 1.5, large], [small, large]).relative_l2 == pytest.approx(0.5)


@pytest.mark.parametrize("place", [0, 1])
def test_nan_in_any_output_is_never_within(place: int) -> None:
    results = [TRUTH[0].clone(), TRUTH[0].clone()]
    results[place][0, 0] = nan
    error = compare(results, TRUTH * 2)
    assert isnan(error.relative_l2)
    assert not within(error, inf)


@pytest.mark.parametrize("results", [[], TRUTH * 2, [TRUTH[0][:1]]])
def test_outputs_of_other_number_or_shape_are_infinitely_wrong(results: list[torch.Tensor]) -> None:
    assert not within(compare(results, TRUTH), 1e30)


def test_a_truth_of_zeros() -> None:
    zeros = [torch.zeros(1, 3).double()]
    assert compare(zeros, zeros).relative_l2 == 0.0
    assert compare([zeros[0] + 1e-30], zeros).relative_l2 == inf


def test_fp32_has_a_floor_and_the_others_have_none() -> None:
    assert allowed("fp32", 1e-9) == FP32_FLOOR
    assert allowed("fp32", 1e-3) == 2e-3
    assert allowed("bf16", 1e-9) == 2e-9
    assert within(Error(2e-3, 0.0, None), allowed("fp32", 1e-3))
    assert not within(Error(2.1e-3, 0.0, None), allowed("fp32", 1e-3))
    assert plausible("fp32", 1e-7) < plausible("fp32", 1e-2) < 1


def test_flatten_keeps_order_through_every_structure() -> None:
    pair = namedtuple("pair", "a b")
    nested = {
        "x": pair(torch.tensor([1.0]), [np.array([2.0], np.float32)]),
        "y": (torch.tensor([3], dtype=torch.bfloat16),),
    }
    flat = flatten(nested)
    assert [t.item() for t in flat] == [1.0, 2.0, 3.0]
    assert all(t.dtype == torch.float64 for t in flat)
    with pytest.raises(TypeError, match="str"):
        flatten(["no tensor"])


def test_the_truth_is_float64_and_leaves_the_model_alone() -> None:
    model = nn.Linear(3, 2)
    x = torch.randn(4, 3)
    (truth,) = true_outputs(model, x)
    exact = x.double() @ model.weight.double().T + model.bias.double()
    assert torch.equal(truth, exact) or (truth - exact).abs().max() < 1e-15
    assert model.weight.dtype == torch.float32
