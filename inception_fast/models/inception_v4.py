"""Inception-v4: C. Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
AAAI 2017, arXiv:1602.07261, Figures 3 to 9.

The average pools of the branches do not count the padding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inception_fast.models.layers import BasicConv2d, Concat, classifier, discard_on_load


class InceptionV4(nn.Module):
    """``(N, 3, H, W) -> (N, num_classes)`` logits, or ``(N, 1536)`` features where ``num_classes`` is 0.

    Native size 299, least 75. Takes the ``state_dict`` of timm's ``inception_v4``.

    Args:
        num_classes: outputs of the classifier; 0 leaves it out.
    """

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        # Sizes are those of a 299x299 input.
        self.features = nn.Sequential(
            BasicConv2d(3, 32, 3, stride=2),  # 32 x 149 x 149
            BasicConv2d(32, 32, 3),  # 32 x 147 x 147
            BasicConv2d(32, 64, 3, padding=1),  # 64 x 147 x 147
            Mixed3a(),  # 160 x 73 x 73
            Mixed4a(),  # 192 x 71 x 71
            Mixed5a(),  # 384 x 35 x 35
            *(InceptionA() for _ in range(4)),
            ReductionA(),  # 1024 x 17 x 17
            *(InceptionB() for _ in range(7)),
            ReductionB(),  # 1536 x 8 x 8
            *(InceptionC() for _ in range(3)),
        )
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.head_drop = nn.Dropout(0.2)
        self.last_linear = classifier(1536, num_classes)
        discard_on_load(self, *(() if num_classes else ("last_linear",)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = torch.flatten(self.global_pool(x), 1)
        return self.last_linear(self.head_drop(x))


class Mixed3a(Concat):
    """First fork of the stem, Figure 3: ``(N, 64, H, W) -> (N, 160, H', W')``."""

    def __init__(self) -> None:
        super().__init__()
        self.maxpool = nn.MaxPool2d(3, stride=2)
        self.conv = BasicConv2d(64, 96, 3, stride=2)


class Mixed4a(Concat):
    """Second fork of the stem, Figure 3: ``(N, 160, H, W) -> (N, 192, H - 2, W - 2)``."""

    def __init__(self) -> None:
        super().__init__()
        self.branch0 = nn.Sequential(
            BasicConv2d(160, 64, 1),
            BasicConv2d(64, 96, 3),
        )
        self.branch1 = nn.Sequential(
            BasicConv2d(160, 64, 1),
            BasicConv2d(64, 64, (1, 7), padding=(0, 3)),
            BasicConv2d(64, 64, (7, 1), padding=(3, 0)),
            BasicConv2d(64, 96, 3),
        )


class Mixed5a(Concat):
    """Third fork of the stem, Figure 3: ``(N, 192, H, W) -> (N, 384, H', W')``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = BasicConv2d(192, 192, 3, stride=2)
        self.maxpool = nn.MaxPool2d(3, stride=2)


class InceptionA(Concat):
    """35x35 block, Figure 4: ``(N, 384, H, W) -> (N, 384, H, W)``."""

    def __init__(self) -> None:
        super().__init__()
        self.branch0 = BasicConv2d(384, 96, 1)
        self.branch1 = nn.Sequential(
            BasicConv2d(384, 64, 1),
            BasicConv2d(64, 96, 3, padding=1),
        )
        self.branch2 = nn.Sequential(
            BasicConv2d(384, 64, 1),
            BasicConv2d(64, 96, 3, padding=1),
            BasicConv2d(96, 96, 3, padding=1),
        )
        self.branch3 = nn.Sequential(
            nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
            BasicConv2d(384, 96, 1),
        )


class ReductionA(Concat):
    """From 35x35 to 17x17, Figure 7: ``(N, 384, H, W) -> (N, 1024, H', W')``."""

    def __init__(self) -> None:
        super().__init__()
        self.branch0 = BasicConv2d(384, 384, 3, stride=2)
        self.branch1 = nn.Sequential(
            BasicConv2d(384, 192, 1),
            BasicConv2d(192, 224, 3, padding=1),
            BasicConv2d(224, 256, 3, stride=2),
        )
        self.branch2 = nn.MaxPool2d(3, stride=2)


class InceptionB(Concat):
    """17x17 block, Figure 5: ``(N, 1024, H, W) -> (N, 1024, H, W)``."""

    def __init__(self) -> None:
        super().__init__()
        self.branch0 = BasicConv2d(1024, 384, 1)
        self.branch1 = nn.Sequential(
            BasicConv2d(1024, 192, 1),
            BasicConv2d(192, 224, (1, 7), padding=(0, 3)),
            BasicConv2d(224, 256, (7, 1), padding=(3, 0)),
        )
        self.branch2 = nn.Sequential(
            BasicConv2d(1024, 192, 1),
            BasicConv2d(192, 192, (7, 1), padding=(3, 0)),
            BasicConv2d(192, 224, (1, 7), padding=(0, 3)),
            BasicConv2d(224, 224, (7, 1), padding=(3, 0)),
            BasicConv2d(224, 256, (1, 7), padding=(0, 3)),
        )
        self.branch3 = nn.Sequential(
            nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
            BasicConv2d(1024, 128, 1),
        )


class ReductionB(Concat):
    """From 17x17 to 8x8, Figure 8: ``(N, 1024, H, W) -> (N, 1536, H', W')``."""

    def __init__(self) -> None:
        super().__init__()
        self.branch0 = nn.Sequential(
            BasicConv2d(1024, 192, 1),
            BasicConv2d(192, 192, 3, stride=2),
        )
        self.branch1 = nn.Sequential(
            BasicConv2d(1024, 256, 1),
            BasicConv2d(256, 256, (1, 7), padding=(0, 3)),
            BasicConv2d(256, 320, (7, 1), padding=(3, 0)),
            BasicConv2d(320, 320, 3, stride=2),
        )
        self.branch2 = nn.MaxPool2d(3, stride=2)


class InceptionC(nn.Module):
    """8x8 block whose branches fan out into 1x3 and 3x1, Figure 6: ``(N, 1536, H, W) -> (N, 1536, H, W)``."""

    def __init__(self) -> None:
        super().__init__()
        self.branch0 = BasicConv2d(1536, 256, 1)

        self.branch1_0 = BasicConv2d(1536, 384, 1)
        self.branch1_1a = BasicConv2d(384, 256, (1, 3), padding=(0, 1))
        self.branch1_1b = BasicConv2d(384, 256, (3, 1), padding=(1, 0))

        self.branch2_0 = BasicConv2d(1536, 384, 1)
        self.branch2_1 = BasicConv2d(384, 448, (3, 1), padding=(1, 0))
        self.branch2_2 = BasicConv2d(448, 512, (1, 3), padding=(0, 1))
        self.branch2_3a = BasicConv2d(512, 256, (1, 3), padding=(0, 1))
        self.branch2_3b = BasicConv2d(512, 256, (3, 1), padding=(1, 0))

        self.branch3 = nn.Sequential(
            nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
            BasicConv2d(1536, 256, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x0 = self.branch0(x)
        x1 = self.branch1_0(x)
        x1 = torch.cat([self.branch1_1a(x1), self.branch1_1b(x1)], dim=1)
        x2 = self.branch2_2(self.branch2_1(self.branch2_0(x)))
        x2 = torch.cat([self.branch2_3a(x2), self.branch2_3b(x2)], dim=1)
        x3 = self.branch3(x)
        return torch.cat([x0, x1, x2, x3], dim=1)
