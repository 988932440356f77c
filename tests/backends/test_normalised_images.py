"""The promise on images as ``transforms.Normalize`` leaves them, of a network that amplifies rounding on them alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torchvision.models import googlenet

import inception_fast as ifast
from inception_fast.bench.accuracy import allowed


class Split(nn.Module):
    """A network with an operator behind its first layers that stays PyTorch's."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n = self.network
        first = n.inception3b(n.inception3a(n.maxpool2(n.conv3(n.conv2(n.maxpool1(n.conv1(x)))))))
        return n.inception4b(n.inception4a(n.maxpool3(torch.special.erf(0.1 * first)))).mean((2, 3))


@torch.no_grad()
def calibrated() -> nn.Module:
    """Random weights, and norms with the statistics of normal noise."""
    torch.manual_seed(0)
    network = googlenet(weights=None, aux_logits=False, init_weights=False).train()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
    network(torch.randn(4, 3, 96, 96))
    return network.eval()


def relative_l2(found: torch.Tensor, truth: torch.Tensor) -> float:
    return ((found - truth).norm() / truth.norm()).item()


@pytest.mark.parametrize("split", [False, True])
@torch.no_grad()
def test_promise(split: bool) -> None:
    network = calibrated()
    model = Split(network).eval() if split else network
    fast, exact = ifast.optimize(model, torch.zeros(1, 3, 96, 96), backend="cpu"), copy.deepcopy(model).double()
    assert hasattr(fast, "report")
    for x in torch.randn(2, 1, 3, 96, 96):
        truth = exact(x.double())
        assert relative_l2(fast(x), truth) <= allowed("fp32", relative_l2(model(x), truth))
