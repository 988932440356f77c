"""Small networks with everything that steps are made of, for tests that run whole commands."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from inception_fast.models.calibration import calibrate_batchnorm, initialize
from inception_fast.models.layers import BasicConv2d
from tests.graph.families import FAMILIES

SIZE = 31
FAMILY_PARAMETERS = [pytest.param(name, marks=() if name == "inception_v2" else pytest.mark.slow) for name in FAMILIES]
"""One family for every run of the tests, and the others for the long ones."""


class Block(nn.Module):
    """Four branches, one of them 1x3 then 3x1, and an average pool."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.direct = BasicConv2d(channels, 8, 1)
        self.wide_1 = BasicConv2d(channels, 6, 1)
        self.wide_2 = BasicConv2d(6, 10, 3, padding=1)
        self.long_1 = BasicConv2d(channels, 6, 1)
        self.long_2 = BasicConv2d(6, 6, (1, 3), padding=(0, 1))
        self.long_3 = BasicConv2d(6, 8, (3, 1), padding=(1, 0))
        self.pooled = BasicConv2d(channels, 6, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = self.pooled(F.avg_pool2d(x, 3, 1, 1))
        return torch.cat(
            [self.direct(x), self.wide_2(self.wide_1(x)), self.long_3(self.long_2(self.long_1(x))), pooled], 1
        )


class Residual(nn.Module):
    """``relu(x + 0.2 conv(cat))``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.left = BasicConv2d(channels, 4, 1)
        self.right_1 = BasicConv2d(channels, 4, 1)
        self.right_2 = BasicConv2d(4, 4, 3, padding=1)
        self.up = nn.Conv2d(8, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + 0.2 * self.up(torch.cat([self.left(x), self.right_2(self.right_1(x))], 1)))


class Small(nn.Module):
    """A stem, a block, a residual block and a classifier: ``[N, 3, 31, 31]`` to ``[N, 5]``."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = BasicConv2d(3, 8, 3, stride=2)
        self.block = Block(8)
        self.residual = Residual(32)
        self.fc = nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.stem(x), 3, 2, ceil_mode=True)
        x = self.residual(self.block(x))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def small() -> nn.Module:
    """:class:`Small` with live activations."""
    model = Small().eval()
    initialize(model, seed=0)
    calibrate_batchnorm(model, images(8))
    return model


def images(count: int) -> torch.Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 2 - 1


def not_a_module() -> str:
    return "no network"


class _Parted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = small(), nn.Softplus()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x))


def parted() -> nn.Module:
    """The small network and an operator behind it that stays PyTorch's."""
    return _Parted().eval()
