"""Small networks for the tests of PyTorch's compilers."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from inception_fast.models.googlenet import Inception
from inception_fast.models.layers import BasicConv2d
from tests.nn.modules import lively

SIZE = (11, 9)


class Result(NamedTuple):
    logits: torch.Tensor
    maps: dict[str, torch.Tensor]


class Network(nn.Module):
    """Stem, block and classifier; returns a feature map, the logits, and the map once more."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = BasicConv2d(3, 12, kernel_size=3)
        self.block = Inception(12, 4, 6, 8, 2, 4, 4)
        self.fc = nn.Linear(20, 5)

    def forward(self, x: torch.Tensor) -> Result:
        y = self.block(self.stem(x))
        pooled = nn.functional.adaptive_avg_pool2d(y, 1)
        return Result(self.fc(pooled.view(x.size(0), -1)), {"map": y, "again": y})


def network(seed: int = 0) -> Network:
    return lively(Network(), seed)


def photos(batch: int, size: tuple[int, int] = SIZE, seed: int = 1) -> torch.Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(seed))


def assert_same_results(got: Result, expected: Result, rtol: float = 1e-5) -> None:
    assert type(got).__name__ == "Result" and got._fields == expected._fields
    pairs = [(got.logits, expected.logits), *((got.maps[k], expected.maps[k]) for k in ("map", "again"))]
    assert list(got.maps) == list(expected.maps)
    for a, b in pairs:
        assert b.count_nonzero() and (a.double() - b).norm() <= rtol * b.norm()
