"""Blocks shared by Inception-ResNet-v1 and -v2; the figures are those of arXiv:1602.07261."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inception_fast.models.layers import BasicConv2d, Concat


class Residual(nn.Module):
    """``relu(x + scale * conv2d(cat(branches)))``: the end of every residual block, Figure 20.

    ``conv2d`` is 1x1 with a bias and without BatchNorm. Scales well under 1 keep the training of such wide networks
    stable (Section 3.3).

    Args:
        channels: channels of the block's input and output.
        mixed: channels of the branches together.
        scale: factor of the residual.
        relu: whether the sum goes through a ReLU; the last block of a network has none.
    """

    def __init__(self, channels: int, mixed: int, *, scale: float, relu: bool = True) -> None:
        super().__init__()
        self.conv2d = nn.Conv2d(mixed, channels, 1)
        self.scale = scale
        self.relu = relu

    def merge(self, x: Tensor, *branches: Tensor) -> Tensor:
        """Add the branches' outputs to the block's input ``x``: ``(N, channels, H, W)``."""
        x = self.conv2d(torch.cat(branches, dim=1)) * self.scale + x
        return F.relu(x) if self.relu else x


class Block35(Residual):
    """Inception-ResNet-A, Figures 10 and 16; ``widths`` are those of the two 3x3 convolutions in a row."""

    def __init__(self, channels: int, widths: tuple[int, int], *, scale: float) -> None:
        super().__init__(channels, 32 + 32 + widths[1], scale=scale)
        self.branch0 = BasicConv2d(channels, 32, 1)
        self.branch1 = nn.Sequential(
            BasicConv2d(channels, 32, 1),
            BasicConv2d(32, 32, 3, padding=1),
        )
        self.branch2 = nn.Sequential(
            BasicConv2d(channels, 32, 1),
            BasicConv2d(32, widths[0], 3, padding=1),
            BasicConv2d(widths[0], widths[1], 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.merge(x, self.branch0(x), self.branch1(x), self.branch2(x))


class Block17(Residual):
    """Inception-ResNet-B, Figures 11 and 17; ``widths`` are those of the 1x1, the 1x7 and the 7x1 convolution."""

    def __init__(self, channels: int, ch1x1: int, widths: tuple[int, int, int], *, scale: float) -> None:
        super().__init__(channels, ch1x1 + widths[2], scale=scale)
        self.branch0 = BasicConv2d(channels, ch1x1, 1)
        self.branch1 = nn.Sequential(
            BasicConv2d(channels, widths[0], 1),
            BasicConv2d(widths[0], widths[1], (1, 7), padding=(0, 3)),
            BasicConv2d(widths[1], widths[2], (7, 1), padding=(3, 0)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.merge(x, self.branch0(x), self.branch1(x))


class Block8(Residual):
    """Inception-ResNet-C, Figures 13 and 19; ``widths`` are those of the 1x1, the 1x3 and the 3x1 convolution."""

    def __init__(self, channels: int, widths: tuple[int, int, int], *, scale: float, relu: bool = True) -> None:
        super().__init__(channels, 192 + widths[2], scale=scale, relu=relu)
        self.branch0 = BasicConv2d(channels, 192, 1)
        self.branch1 = nn.Sequential(
            BasicConv2d(channels, widths[0], 1),
            BasicConv2d(widths[0], widths[1], (1, 3), padding=(0, 1)),
            BasicConv2d(widths[1], widths[2], (3, 1), padding=(1, 0)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.merge(x, self.branch0(x), self.branch1(x))


class ReductionA(Concat):
    """Figure 7 with ``k, l, m = widths`` and n = 384: ``(N, in, H, W) -> (N, in + 384 + m, H', W')``."""

    def __init__(self, in_channels: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        self.branch0 = BasicConv2d(in_channels, 384, 3, stride=2)
        self.branch1 = nn.Sequential(
            BasicConv2d(in_channels, widths[0], 1),
            BasicConv2d(widths[0], widths[1], 3, padding=1),
            BasicConv2d(widths[1], widths[2], 3, stride=2),
        )
        self.branch2 = nn.MaxPool2d(3, stride=2)


class ReductionB(Concat):
    """Figures 12 and 18: ``(N, in, H, W) -> (N, in + 384 + ch3x3 + widths[2], H', W')``."""

    def __init__(self, in_channels: int, ch3x3: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        self.branch0 = nn.Sequential(
            BasicConv2d(in_channels, 256, 1),
            BasicConv2d(256, 384, 3, stride=2),
        )
        self.branch1 = nn.Sequential(
            BasicConv2d(in_channels, 256, 1),
            BasicConv2d(256, ch3x3, 3, stride=2),
        )
        self.branch2 = nn.Sequential(
            BasicConv2d(in_channels, widths[0], 1),
            BasicConv2d(widths[0], widths[1], 3, padding=1),
            BasicConv2d(widths[1], widths[2], 3, stride=2),
        )
        self.branch3 = nn.MaxPool2d(3, stride=2)
