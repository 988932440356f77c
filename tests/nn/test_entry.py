"""The layout of images is changed once, where parts of a model are replaced one by one."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast import swap
from inception_fast.models.layers import BasicConv2d
from inception_fast.nn.entry import Entry
from tests.nn.modules import lively
from tests.nn.test_swapping import Guard, block
from tests.partition.comparing import assert_keeps_promise


class Guarded(nn.Module):
    def __init__(self, view: bool = False) -> None:
        super().__init__()
        self.guard, self.first, self.second, self.view = Guard(), BasicConv2d(3, 12, 3), block(), view
        self.seen: list[bool] = []

    def forward(self, x: torch.Tensor, *, flat: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self.first(self.guard(x))
        self.seen.append(maps.is_contiguous(memory_format=torch.channels_last))
        result = self.second(maps)
        return result.view(len(x), -1) if flat or self.view else maps, result


def images(n: int = 2) -> torch.Tensor:
    return torch.randn(n, 3, 12, 14, generator=torch.Generator().manual_seed(n))


@torch.no_grad()
def test_once_and_back() -> None:
    model = lively(Guarded())
    original = copy.deepcopy(model)
    report = swap(model, images())
    assert {r.path for r in report.replaced} == {"first", "second"} and isinstance(vars(model)["forward"], Entry)
    model.seen.clear()
    for x in (images(), images(3).contiguous(memory_format=torch.channels_last)):
        for got, expected in zip(model(x), original(x), strict=True):
            assert got.stride() == expected.stride()
        assert_keeps_promise(model, original, x)
        assert_keeps_promise(copy.deepcopy(model), original, x)
    assert all(model.seen)
    report.undo()
    assert "forward" not in vars(model) and type(model.second) is type(original.second)


def test_not_where_the_model_wants_contiguous_maps() -> None:
    model = lively(Guarded(view=True))
    original = copy.deepcopy(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(swap(model, images()).replaced) == 2
        assert_keeps_promise(model, original, images())
    assert "forward" not in vars(model)


@torch.no_grad()
def test_no_longer_where_that_shows_later() -> None:
    model = lively(Guarded())
    original = copy.deepcopy(model)
    swap(model, images())
    with pytest.warns(UserWarning, match="Guarded behind swap: it needs contiguous images") as said:
        for _ in range(2):
            assert_keeps_promise(model, original, images(), flat=True)
    assert len(said) == 1
    model.seen.clear()
    model(images())
    assert model.seen == [False]
    with pytest.raises(ifast.InputError, match=r"\[N, 3, H, W\]"):
        model(images()[:, :2])
