"""The network of the dry run: two blocks of a stem, 1x1, 3x3 and factorized branches and pools, small enough for the
emulator and the interpreter.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from inception_fast.models.calibration import calibrate_batchnorm, initialize
from inception_fast.models.layers import BasicConv2d

SIZE = 19
CLASSES = 5


class Block(nn.Module):
    """Three branches: 1x1, 1x3 then 3x1, and an average pool before a 1x1; ``[N, C, H, W]`` to ``[N, 24, H, W]``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.direct = BasicConv2d(channels, 8, 1)
        self.wide = BasicConv2d(channels, 8, (1, 3), padding=(0, 1))
        self.high = BasicConv2d(8, 8, (3, 1), padding=(1, 0))
        self.pooled = BasicConv2d(channels, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.direct(x), self.high(self.wide(x)), self.pooled(F.avg_pool2d(x, 3, 1, 1))], 1)


class TwoBlocks(nn.Module):
    """``[N, 3, 19, 19]`` to ``[N, 5]``."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = BasicConv2d(3, 16, 3, stride=2)
        self.first, self.second = Block(16), Block(24)
        self.head = nn.Linear(24, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.stem(x), 3, 2)
        return self.head(F.adaptive_avg_pool2d(self.second(self.first(x)), 1).flatten(1))


def two_blocks() -> nn.Module:
    """:class:`TwoBlocks` with weights that keep its activations alive."""
    model = TwoBlocks().eval()
    initialize(model, seed=0)
    calibrate_batchnorm(model, torch.rand(8, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 2 - 1)
    return model
