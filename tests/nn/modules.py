"""What the tests of the drop-in modules share."""

from __future__ import annotations

import copy

import torch
from torch import nn

from tests.graph.check import relative_error

BOUND = 1e-5
"""Relative L2 error allowed in float32."""


def lively(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module in eval mode, with He weights and batch statistics of which no channel is trivial."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            fan_in = part.weight[0].numel()
            part.weight.data.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            if part.bias is not None:
                part.bias.data.uniform_(-0.2, 0.2, generator=generator)
        if isinstance(part, nn.BatchNorm2d):
            part.weight.data.uniform_(0.7, 1.5, generator=generator)
            part.bias.data.uniform_(-0.3, 0.5, generator=generator)
            part.running_mean.uniform_(-0.3, 0.3, generator=generator)
            part.running_var.uniform_(0.5, 2.0, generator=generator)
    return module.eval()


@torch.no_grad()
def truth(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The module's output in float64."""
    return copy.deepcopy(module).double()(x.double())


@torch.no_grad()
def assert_same(fast: nn.Module, module: nn.Module, *shape: int, seed: int = 1) -> torch.Tensor:
    """``fast`` gives what ``module`` gives in float64 for random images; returns the images."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    got, expected = fast(x), truth(module, x)
    assert expected.count_nonzero() and got.dtype == x.dtype
    assert relative_error(got.double(), expected) <= BOUND
    return x
