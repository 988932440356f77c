"""Inception-v2, also called BN-Inception: S. Ioffe and C. Szegedy, "Batch Normalization: Accelerating Deep Network
Training by Reducing Internal Covariate Shift", ICML 2015, arXiv:1502.03167, Figure 5.

Three places where the figure needs reading:

- Rows 4c and 4d print a pool projection of 128 channels and an output of 576; only 96 adds up to 576, and to the 1024
  of 4e. Google's TensorFlow release has 96, and so has this.
- Rows 3c and 4e print the size of their input (28x28, 14x14); their stride is 2, so they give 14x14 and 7x7.
- The first convolution is separable with depth multiplier 8. Nothing stands between its two halves, so they make one
  dense 7x7 convolution of limited rank; here it is dense.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inception_fast.models.layers import BasicConv2d, Concat, classifier, discard_on_load


class InceptionV2(nn.Module):
    """``(N, 3, H, W) -> (N, num_classes)`` logits, or ``(N, 1024)`` features where ``num_classes`` is 0.

    Native size 224. Every window is padded by half its size, so that a stride of 2 gives ``ceil(size / 2)`` in all
    branches alike; average pools do not count the padding.

    Args:
        num_classes: outputs of the classifier; 0 leaves it out.
    """

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        # Sizes are those of a 224x224 input.
        self.conv1 = BasicConv2d(3, 64, 7, stride=2, padding=3)  # 64 x 112 x 112
        self.maxpool1 = nn.MaxPool2d(3, stride=2, padding=1)  # 64 x 56 x 56
        self.conv2 = BasicConv2d(64, 64, 1)
        self.conv3 = BasicConv2d(64, 192, 3, padding=1)  # 192 x 56 x 56
        self.maxpool2 = nn.MaxPool2d(3, stride=2, padding=1)  # 192 x 28 x 28

        self.inception3a = Inception(192, 64, 64, 64, 64, 96, 32)  # 256 x 28 x 28
        self.inception3b = Inception(256, 64, 64, 96, 64, 96, 64)  # 320 x 28 x 28
        self.inception3c = Reduction(320, 128, 160, 64, 96)  # 576 x 14 x 14

        self.inception4a = Inception(576, 224, 64, 96, 96, 128, 128)  # 576 x 14 x 14
        self.inception4b = Inception(576, 192, 96, 128, 96, 128, 128)
        self.inception4c = Inception(576, 160, 128, 160, 128, 160, 96)
        self.inception4d = Inception(576, 96, 128, 192, 160, 192, 96)
        self.inception4e = Reduction(576, 128, 192, 192, 256)  # 1024 x 7 x 7

        self.inception5a = Inception(1024, 352, 192, 320, 160, 224, 128)  # 1024 x 7 x 7
        self.inception5b = Inception(1024, 352, 192, 320, 192, 224, 128, max_pool=True)

        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.2)
        self.fc = classifier(1024, num_classes)
        discard_on_load(self, *(() if num_classes else ("fc",)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool1(self.conv1(x))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        x = self.inception3a(x)
        x = self.inception3b(x)
        x = self.inception3c(x)
        x = self.inception4a(x)
        x = self.inception4b(x)
        x = self.inception4c(x)
        x = self.inception4d(x)
        x = self.inception4e(x)
        x = self.inception5a(x)
        x = self.inception5b(x)
        x = torch.flatten(self.avgpool(x), 1)
        return self.fc(self.dropout(x))


class Inception(Concat):
    """Block of stride 1; the arguments are the columns of Figure 5."""

    def __init__(
        self,
        in_channels: int,
        ch1x1: int,
        ch3x3_reduce: int,
        ch3x3: int,
        double3x3_reduce: int,
        double3x3: int,
        pool_proj: int,
        *,
        max_pool: bool = False,
    ) -> None:
        super().__init__()
        self.branch1 = BasicConv2d(in_channels, ch1x1, 1)
        self.branch2 = nn.Sequential(
            BasicConv2d(in_channels, ch3x3_reduce, 1),
            BasicConv2d(ch3x3_reduce, ch3x3, 3, padding=1),
        )
        self.branch3 = nn.Sequential(
            BasicConv2d(in_channels, double3x3_reduce, 1),
            BasicConv2d(double3x3_reduce, double3x3, 3, padding=1),
            BasicConv2d(double3x3, double3x3, 3, padding=1),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1)
            if max_pool
            else nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
            BasicConv2d(in_channels, pool_proj, 1),
        )


class Reduction(Concat):
    """Block of stride 2 (3c, 4e): no 1x1 branch, and the pooled input passes through without a projection."""

    def __init__(self, in_channels: int, ch3x3_reduce: int, ch3x3: int, double3x3_reduce: int, double3x3: int) -> None:
        super().__init__()
        self.branch1 = nn.Sequential(
            BasicConv2d(in_channels, ch3x3_reduce, 1),
            BasicConv2d(ch3x3_reduce, ch3x3, 3, stride=2, padding=1),
        )
        self.branch2 = nn.Sequential(
            BasicConv2d(in_channels, double3x3_reduce, 1),
            BasicConv2d(double3x3_reduce, double3x3, 3, padding=1),
            BasicConv2d(double3x3, double3x3, 3, stride=2, padding=1),
        )
        self.branch3 = nn.MaxPool2d(3, stride=2, padding=1)
