"""Rounding against float64: each constant by little, and what is lost does not add up."""

from __future__ import annotations

import pytest
import torch

from inception_fast.lowering.rounding import rounded_affine, rounded_weights

EPS = torch.finfo(torch.float32).eps


@pytest.mark.parametrize("taps", [2, 7, 9, 25])
@pytest.mark.parametrize("channels", [1, 17])
def test_sums_over_the_taps_are_kept(taps: int, channels: int) -> None:
    torch.manual_seed(0)
    weight = torch.randn(240, taps, channels, dtype=torch.float64)
    got = rounded_weights(weight)
    assert got.dtype == torch.float32
    lost = (got.double() - weight).sum(1).abs()
    assert (lost <= EPS * weight.abs().amin(1)).all()
    # Beside those of rounding each for itself.
    assert lost.norm() < 0.5 * (weight.float().double() - weight).sum(1).norm()
    # A tap may take what all others lost.
    assert ((got - weight).abs() <= EPS * weight.abs().sum(1, keepdim=True)).all()
    assert ((got != weight.float()).sum(1) <= 1).all()


def test_zeros_and_signs_stay() -> None:
    torch.manual_seed(0)
    weight = torch.randn(24, 9, 17, dtype=torch.float64)
    weight[torch.rand(weight.shape) < 0.4] = 0.0
    weight[:, 4] *= 1e-8
    got = rounded_weights(weight)
    assert torch.equal(got.sign().double(), weight.sign())
    # A tap that is there makes up for what others lost.
    kept = weight[:, [0, 1, 2, 3, 5, 6, 7, 8]]
    sums = rounded_weights(kept).double().sum(1) - kept.sum(1)
    assert sums.norm() < 0.5 * (kept.float().double() - kept).sum(1).norm()
    assert not rounded_weights(torch.zeros(2, 3, 4, dtype=torch.float64)).any()


def test_what_needs_no_rounding_is_not_changed() -> None:
    torch.manual_seed(0)
    for weight in (torch.randn(8, 9, 5), torch.randn(8, 9, 5).double(), torch.randn(8, 1, 5).double() / 3):
        assert torch.equal(rounded_weights(weight), weight.float())


def test_infinite_weights_spoil_their_own_kernel_alone() -> None:
    torch.manual_seed(0)
    weight = torch.randn(4, 9, 5, dtype=torch.float64)
    weight[0, 3, 2], weight[1, 4, 0] = torch.inf, torch.nan
    got = rounded_weights(weight)
    assert torch.equal(got.isinf(), weight.isinf())
    assert torch.equal(got.isnan(), weight.isnan())


def test_an_affine_keeps_its_zero() -> None:
    torch.manual_seed(0)
    scale = torch.randn(64, dtype=torch.float64)
    zero = 1000 * torch.randn(64, dtype=torch.float64)
    nearest, shift = rounded_affine(scale, -scale * zero)
    assert torch.equal(nearest, scale.float())
    moved = (-shift.double() / nearest.double() - zero).abs()
    # Of the shift's own rounding, and not of the scale's besides.
    assert (moved <= 0.501 * EPS * zero.abs()).all()


def test_scales_without_a_zero() -> None:
    scale = torch.tensor([0.0, 1e-60, torch.inf, torch.nan, 1e-42], dtype=torch.float64)
    shift = torch.tensor([0.5, -2.0, 0.25, 1.0, 3.0], dtype=torch.float64)
    nearest, kept = rounded_affine(scale, shift)
    assert torch.equal(kept, shift.float())
    assert torch.equal(nearest.nan_to_num(7), scale.float().nan_to_num(7))
