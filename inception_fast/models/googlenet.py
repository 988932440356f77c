"""GoogLeNet (Inception-v1): C. Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, arXiv:1409.4842, Table 1.

As torchvision has it: BatchNorm after every convolution in place of local response normalisation, max pools that round
their output size up, and 3x3 kernels in the branch that the paper gives 5x5 ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inception_fast.models.layers import BasicConv2d, Concat, classifier, discard_on_load, imagenet_to_inception


class GoogLeNet(nn.Module):
    """``(N, 3, H, W) -> (N, num_classes)`` logits, or ``(N, 1024)`` features where ``num_classes`` is 0.

    Native size 224. Takes the ``state_dict`` of ``torchvision.models.googlenet``, with auxiliary heads or without; they
    are not built here, since they run in training only.

    Args:
        num_classes: outputs of the classifier; 0 leaves it out.
        transform_input: the input is normalised by ImageNet's statistics and is brought to [-1, 1] first.
    """

    def __init__(self, num_classes: int = 1000, *, transform_input: bool = False) -> None:
        super().__init__()
        self.transform_input = transform_input
        # Sizes are those of a 224x224 input.
        self.conv1 = BasicConv2d(3, 64, 7, stride=2, padding=3)  # 64 x 112 x 112
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)  # 64 x 56 x 56
        self.conv2 = BasicConv2d(64, 64, 1)
        self.conv3 = BasicConv2d(64, 192, 3, padding=1)  # 192 x 56 x 56
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)  # 192 x 28 x 28

        self.inception3a = Inception(192, 64, 96, 128, 16, 32, 32)  # 256 x 28 x 28
        self.inception3b = Inception(256, 128, 128, 192, 32, 96, 64)  # 480 x 28 x 28
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)  # 480 x 14 x 14

        self.inception4a = Inception(480, 192, 96, 208, 16, 48, 64)  # 512 x 14 x 14
        self.inception4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = Inception(512, 112, 144, 288, 32, 64, 64)  # 528 x 14 x 14
        self.inception4e = Inception(528, 256, 160, 320, 32, 128, 128)  # 832 x 14 x 14
        self.maxpool4 = nn.MaxPool2d(2, stride=2, ceil_mode=True)  # 832 x 7 x 7

        self.inception5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = Inception(832, 384, 192, 384, 48, 128, 128)  # 1024 x 7 x 7

        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.2)
        self.fc = classifier(1024, num_classes)
        discard_on_load(self, "aux1", "aux2", *(() if num_classes else ("fc",)))

    def forward(self, x: Tensor) -> Tensor:
        if self.transform_input:
            x = imagenet_to_inception(x)
        x = self.maxpool1(self.conv1(x))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        x = self.inception3a(x)
        x = self.inception3b(x)
        x = self.maxpool3(x)
        x = self.inception4a(x)
        x = self.inception4b(x)
        x = self.inception4c(x)
        x = self.inception4d(x)
        x = self.inception4e(x)
        x = self.maxpool4(x)
        x = self.inception5a(x)
        x = self.inception5b(x)
        x = torch.flatten(self.avgpool(x), 1)
        return self.fc(self.dropout(x))


class Inception(Concat):
    """The paper's Figure 2b; the arguments are the columns of its Table 1."""

    def __init__(
        self, in_channels: int, ch1x1: int, ch3x3_reduce: int, ch3x3: int, ch5x5_reduce: int, ch5x5: int, pool_proj: int
    ) -> None:
        super().__init__()
        self.branch1 = BasicConv2d(in_channels, ch1x1, 1)
        self.branch2 = nn.Sequential(
            BasicConv2d(in_channels, ch3x3_reduce, 1),
            BasicConv2d(ch3x3_reduce, ch3x3, 3, padding=1),
        )
        # torchvision's trained weights have 3x3 kernels here (its issue 906).
        self.branch3 = nn.Sequential(
            BasicConv2d(in_channels, ch5x5_reduce, 1),
            BasicConv2d(ch5x5_reduce, ch5x5, 3, padding=1),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True),
            BasicConv2d(in_channels, pool_proj, 1),
        )
