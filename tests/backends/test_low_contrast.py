"""Images that hardly differ from the mean that a network subtracts."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast.graph import ir
from inception_fast.graph.capture import capture

MEANS = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)


class Normalised(nn.Module):
    """A convolution behind one of the ways to normalise images."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.conv = way, nn.Conv2d(3, 16, 3, stride=2)
        self.register_buffer("means", MEANS.clone())
        self.norm = nn.BatchNorm2d(3)
        self.norm.running_mean.copy_(MEANS.view(3))
        self.norm.running_var.fill_(0.04)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.way == "one mean":
            x = (x - 127.5) / 128
        elif self.way == "means":
            x = (x - self.means) / (self.means / 2.2)
        elif self.way == "doubled":
            x = 2 * x - 1
        elif self.way == "norm":
            x = self.norm(x)
        else:
            x = (x - 0.25).mul(1 / 0.3)
        return self.conv(x)


CENTRES = {
    "one mean": torch.tensor(127.5),
    "means": MEANS,
    "norm": MEANS,
    "doubled": torch.tensor(0.5),
    "thirds": torch.tensor(0.25),
}


@pytest.mark.parametrize("contrast", [1e-1, 1e-3, 1.0])
@pytest.mark.parametrize("way", CENTRES)
@torch.no_grad()
def test_no_digits_are_lost(way: str, contrast: float, backend: str) -> None:
    torch.manual_seed(0)
    model = Normalised(way).eval()
    # Without a bias, for beside one nothing shows.
    model.conv.bias.zero_()
    x = CENTRES[way] * (1 + contrast * (torch.rand(2, 3, 13, 11) - 0.5))
    truth = copy.deepcopy(model).double()(x.double())
    result = ifast.optimize(model, x, backend=backend)(x)
    assert (result.double() - truth).norm() <= 1e-6 * truth.norm()


def test_what_cannot_lose_anything_is_folded() -> None:
    model = Normalised("means").eval()
    graph = capture(model, torch.zeros(1, 3, 13, 11)).graph
    assert sum(isinstance(node.op, ir.Affine) for node in graph.nodes) == 2
    fast = ifast.optimize(model, torch.zeros(1, 3, 13, 11), backend="reference")
    kinds = [step.kind for step in fast.plan.steps]
    assert kinds == ["pointwise", "conv"], "the division is in the weights"
