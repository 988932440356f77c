"""The images that a network is measured on are such as its own numbers tell of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from inception_fast.graph import ir
from inception_fast.graph.capture import capture
from inception_fast.plan.probes import probes


class Scaled(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward((x - 127.5) / 30)


def graph_of(model: nn.Module) -> ir.Graph:
    return capture(model.eval(), torch.zeros(1, 3, 32, 28)).graph


@torch.no_grad()
def calibrated(model: nn.Module, mean: float, deviation: float) -> nn.Module:
    """With the statistics of images whose channels lie around ``mean``, once and twice it and zero."""
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    model.train()(deviation * torch.randn(8, 3, 32, 28) + mean * torch.tensor([1.0, 2.0, 0.0]).view(1, 3, 1, 1))
    return model.eval()


def test_probes_pass_the_input_normalisation() -> None:
    smooth, normal, uniform = probes(graph_of(Scaled(3, 4, 3)))
    assert 60 < smooth.mean() < 200 and 5 < smooth.std() < 60
    assert 120 < normal.mean() < 135 and 27 < normal.std() < 33
    assert uniform.min() >= 0 and uniform.max() <= 1


@pytest.mark.parametrize("mean, deviation", [(30.0, 1.0), (-200.0, 60.0), (0.0, 1e-3)])
@pytest.mark.parametrize("rectified", [False, True])
def test_images_that_normalisations_tell_of(mean: float, deviation: float, rectified: bool) -> None:
    torch.manual_seed(0)
    before = nn.Sequential(*([nn.Conv2d(3, 24, 3, padding=1, bias=False), nn.ReLU()] if rectified else []))
    before.append(nn.Conv2d(24 if rectified else 3, 16, 1, bias=False))
    norm, behind = nn.BatchNorm2d(16, eps=1e-8), [nn.ReLU(), nn.Conv2d(16, 8, 3), nn.BatchNorm2d(8)]
    smooth, _, _, told = probes(graph_of(calibrated(nn.Sequential(before, norm, *behind), mean, deviation)))

    def missed(x: torch.Tensor) -> float:
        """Root mean square of how far values lie from where the normalisation expects them, in its deviations."""
        return norm(before(x)).square().mean().sqrt().item()

    with torch.no_grad():
        assert not 0.4 < missed(smooth) < 2.5
        assert 0.3 < missed(told) < 2


@torch.no_grad()
def test_nothing_is_told_of_ordinary_images() -> None:
    torch.manual_seed(0)
    convs = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 3), nn.BatchNorm2d(8))
    assert len(list(probes(graph_of(calibrated(convs, 0.0, 1.0))))) == 3
    convs[1].running_mean.fill_(torch.nan)
    assert len(list(probes(graph_of(convs)))) == 3
    # Of what no image changes.
    convs[1].running_mean.fill_(50.0)
    convs[0].weight.zero_()
    assert len(list(probes(graph_of(convs)))) == 3
