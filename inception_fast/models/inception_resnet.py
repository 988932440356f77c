"""Inception-ResNet-v1 and -v2: C. Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning", AAAI 2017, arXiv:1602.07261, Figures 7, 10 to 15 (v1) and 16 to 19 (v2).

The two differ in widths, depth, stem and head. v1 is the network that facenet-pytorch uses for faces. v2 is the one
that timm has: its stem is Inception-v3's with one Inception block after it, not the paper's Figure 3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inception_fast.models.inception_resnet_blocks import Block8, Block17, Block35, ReductionA, ReductionB
from inception_fast.models.layers import BN_EPS, BasicConv2d, Concat, classifier, discard_on_load


class InceptionResnetV1(nn.Module):
    """``(N, 3, H, W) -> (N, num_classes)`` logits, or ``(N, 512)`` unit-length embeddings where ``num_classes`` is 0.

    Native size 160, least 75. Takes the ``state_dict`` of facenet-pytorch's ``InceptionResnetV1``; logits are its
    ``classify=True``, which skips the normalisation, and embeddings its default.

    Args:
        num_classes: outputs of the classifier; 0 leaves it out.
    """

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.num_classes = num_classes
        # Sizes are those of a 160x160 input.
        self.conv2d_1a = BasicConv2d(3, 32, 3, stride=2)  # 32 x 79 x 79
        self.conv2d_2a = BasicConv2d(32, 32, 3)  # 32 x 77 x 77
        self.conv2d_2b = BasicConv2d(32, 64, 3, padding=1)  # 64 x 77 x 77
        self.maxpool_3a = nn.MaxPool2d(3, stride=2)  # 64 x 38 x 38
        self.conv2d_3b = BasicConv2d(64, 80, 1)  # 80 x 38 x 38
        self.conv2d_4a = BasicConv2d(80, 192, 3)  # 192 x 36 x 36
        self.conv2d_4b = BasicConv2d(192, 256, 3, stride=2)  # 256 x 17 x 17
        self.repeat_1 = nn.Sequential(*(Block35(256, (32, 32), scale=0.17) for _ in range(5)))
        self.mixed_6a = ReductionA(256, (192, 192, 256))  # 896 x 8 x 8
        self.repeat_2 = nn.Sequential(*(Block17(896, 128, (128, 128, 128), scale=0.10) for _ in range(10)))
        self.mixed_7a = ReductionB(896, 256, (256, 256, 256))  # 1792 x 3 x 3
        self.repeat_3 = nn.Sequential(*(Block8(1792, (192, 192, 192), scale=0.20) for _ in range(5)))
        self.block8 = Block8(1792, (192, 192, 192), scale=1.0, relu=False)
        self.avgpool_1a = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.6)
        self.last_linear = nn.Linear(1792, 512, bias=False)
        self.last_bn = nn.BatchNorm1d(512, eps=BN_EPS)
        self.logits = classifier(512, num_classes)
        # facenet-pytorch's pretrained networks carry logits even where they return embeddings.
        discard_on_load(self, *(() if num_classes else ("logits",)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x)))
        x = self.maxpool_3a(x)
        x = self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(x)))
        x = self.repeat_1(x)
        x = self.mixed_6a(x)
        x = self.repeat_2(x)
        x = self.mixed_7a(x)
        x = self.repeat_3(x)
        x = self.block8(x)
        x = torch.flatten(self.avgpool_1a(x), 1)
        x = self.last_bn(self.last_linear(self.dropout(x)))
        return self.logits(x) if self.num_classes else F.normalize(x, dim=1)


class InceptionResnetV2(nn.Module):
    """``(N, 3, H, W) -> (N, num_classes)`` logits, or ``(N, 1536)`` features where ``num_classes`` is 0.

    Native size 299, least 75. Takes the ``state_dict`` of timm's ``inception_resnet_v2``.

    Args:
        num_classes: outputs of the classifier; 0 leaves it out.
    """

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        # Sizes are those of a 299x299 input.
        self.conv2d_1a = BasicConv2d(3, 32, 3, stride=2)  # 32 x 149 x 149
        self.conv2d_2a = BasicConv2d(32, 32, 3)  # 32 x 147 x 147
        self.conv2d_2b = BasicConv2d(32, 64, 3, padding=1)  # 64 x 147 x 147
        self.maxpool_3a = nn.MaxPool2d(3, stride=2)  # 64 x 73 x 73
        self.conv2d_3b = BasicConv2d(64, 80, 1)  # 80 x 73 x 73
        self.conv2d_4a = BasicConv2d(80, 192, 3)  # 192 x 71 x 71
        self.maxpool_5a = nn.MaxPool2d(3, stride=2)  # 192 x 35 x 35
        self.mixed_5b = Mixed5b()  # 320 x 35 x 35
        self.repeat = nn.Sequential(*(Block35(320, (48, 64), scale=0.17) for _ in range(10)))
        self.mixed_6a = ReductionA(320, (256, 256, 384))  # 1088 x 17 x 17
        self.repeat_1 = nn.Sequential(*(Block17(1088, 192, (128, 160, 192), scale=0.10) for _ in range(20)))
        self.mixed_7a = ReductionB(1088, 288, (256, 288, 320))  # 2080 x 8 x 8
        self.repeat_2 = nn.Sequential(*(Block8(2080, (192, 224, 256), scale=0.20) for _ in range(9)))
        self.block8 = Block8(2080, (192, 224, 256), scale=1.0, relu=False)
        self.conv2d_7b = BasicConv2d(2080, 1536, 1)  # 1536 x 8 x 8
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.head_drop = nn.Dropout(0.2)
        self.classif = classifier(1536, num_classes)
        discard_on_load(self, *(() if num_classes else ("classif",)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x)))
        x = self.maxpool_3a(x)
        x = self.conv2d_4a(self.conv2d_3b(x))
        x = self.maxpool_5a(x)
        x = self.mixed_5b(x)
        x = self.repeat(x)
        x = self.mixed_6a(x)
        x = self.repeat_1(x)
        x = self.mixed_7a(x)
        x = self.repeat_2(x)
        x = self.block8(x)
        x = self.conv2d_7b(x)
        x = torch.flatten(self.global_pool(x), 1)
        return self.classif(self.head_drop(x))


class Mixed5b(Concat):
    """Inception block at the end of v2's stem: ``(N, 192, H, W) -> (N, 320, H, W)``."""

    def __init__(self) -> None:
        super().__init__()
        self.branch0 = BasicConv2d(192, 96, 1)
        self.branch1 = nn.Sequential(
            BasicConv2d(192, 48, 1),
            BasicConv2d(48, 64, 5, padding=2),
        )
        self.branch2 = nn.Sequential(
            BasicConv2d(192, 64, 1),
            BasicConv2d(64, 96, 3, padding=1),
            BasicConv2d(96, 96, 3, padding=1),
        )
        self.branch3 = nn.Sequential(
            nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
            BasicConv2d(192, 64, 1),
        )
