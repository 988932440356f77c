"""Pieces shared by the reference networks."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BN_EPS = 1e-3
"""BatchNorm's epsilon in the whole family, from the TensorFlow originals."""


class BasicConv2d(nn.Module):
    """Convolution without bias, BatchNorm, ReLU: ``(N, in, H, W) -> (N, out, H', W')``.

    The parameters are called ``conv.*`` and ``bn.*`` in torchvision, timm and facenet-pytorch alike, and so here.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=BN_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Concat(nn.Module):
    """Give one input to every child and concatenate their outputs over the channels, in the order of definition."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.children()], dim=1)


def classifier(in_features: int, num_classes: int) -> nn.Module:
    """The last layer: logits, or the features themselves where ``num_classes`` is 0."""
    return nn.Linear(in_features, num_classes) if num_classes else nn.Identity()


def imagenet_to_inception(x: Tensor) -> Tensor:
    """Turn an input normalised by ImageNet's mean and deviation into one in [-1, 1]: ``(N, 3, H, W) -> (N, 3, H, W)``.

    The ``transform_input`` of torchvision.
    """
    channels = [
        torch.unsqueeze(x[:, c], 1) * (std / 0.5) + (mean - 0.5) / 0.5
        for c, (mean, std) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)])
    ]
    return torch.cat(channels, dim=1)


def discard_on_load(module: nn.Module, *children: str) -> None:
    """Let ``module.load_state_dict`` skip the entries of ``children``, which a package's network has and ours has not.

    Auxiliary heads run in training only, and ``num_classes=0`` leaves out the classifier; a ``state_dict`` that carries
    them still loads with ``strict=True``, and every other surplus key still fails.
    """

    # Not a closure, which could not be pickled.
    module.register_load_state_dict_pre_hook(functools.partial(_discard, children))


def _discard(children: Sequence[str], _: nn.Module, state_dict: dict[str, Any], prefix: str, *_rest: object) -> None:
    surplus = tuple(f"{prefix}{child}." for child in children)
    for key in [key for key in state_dict if key.startswith(surplus)]:
        del state_dict[key]
