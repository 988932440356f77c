"""The layout of images is changed once, where parts of a model are replaced one by one."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

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


class Counting(Guarded):
    """Counts its calls, and does something with its first map."""

    def __init__(self, use: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.calls, self.use = 0, use

    def forward(self, x: torch.Tensor, *, used: bool = False) -> torch.Tensor:
        self.calls += 1
        maps = self.first(self.guard(x))
        return self.second(self.use(maps) if used else maps)


def counting(use: Callable[[torch.Tensor], torch.Tensor]) -> tuple[Counting, Counting]:
    """Swapped, with an entry that converts, and as it was."""
    model = lively(Counting(use))
    original = copy.deepcopy(model)
    swap(model, images())
    assert isinstance(vars(model)["forward"], Entry)
    model.calls = 0
    return model, original


def by_view(maps: torch.Tensor) -> torch.Tensor:
    maps.view(len(maps), -1).clamp_(max=0.5)
    return maps.view_as(maps) * 2


@torch.jit.script
def scripted(maps: torch.Tensor) -> torch.Tensor:
    return maps.view(maps.shape[0], -1).view(maps.shape)


def by_script(maps: torch.Tensor) -> torch.Tensor:
    return scripted(maps)  # type: ignore[no-any-return]


class Viewing(Counting):
    """Names ``view`` in its own code."""

    def forward(self, x: torch.Tensor, *, used: bool = False) -> torch.Tensor:
        self.calls += 1
        maps = self.first(self.guard(x))
        if used:
            maps.view(len(maps), -1).clamp_(max=0.5)
            maps = maps.view_as(maps) * 2
        return self.second(maps)


@pytest.mark.parametrize("gradients", [False, True])
def test_a_view_that_fails_goes_on_in_the_same_call(gradients: bool) -> None:
    model = lively(Viewing(torch.relu))
    original = copy.deepcopy(model)
    swap(model, images())
    model.calls = 0
    with torch.set_grad_enabled(gradients), pytest.warns(UserWarning, match="needs contiguous images"):
        result = model(images(), used=True)
    assert model.calls == 1 and result.is_contiguous()
    with torch.no_grad():
        expected = copy.deepcopy(original).double()(images().double(), used=True)
    assert expected.count_nonzero() and (result - expected).norm() <= 1e-5 * expected.norm()


@torch.no_grad()
@pytest.mark.parametrize("use", [by_view, by_script])
def test_one_that_nobody_watches_is_an_error_once(use: Callable[[torch.Tensor], torch.Tensor]) -> None:
    model, original = counting(use)
    with pytest.raises(RuntimeError, match="view size"), pytest.warns(UserWarning, match="needs contiguous images"):
        model(images(), used=True)
    assert model.calls == 1
    assert_keeps_promise(model, original, images(), used=True)


@torch.no_grad()
def test_a_view_that_fails_in_eager_too_is_the_same_error() -> None:
    model, original = counting(lambda maps: maps.transpose(1, 2).view(len(maps), -1))
    for fails in (model, original):
        fails.calls = 0
        with warnings.catch_warnings(), pytest.raises(RuntimeError, match="view size is not compatible"):
            warnings.simplefilter("ignore")
            fails(images(), used=True)
        assert fails.calls == 1
    assert_keeps_promise(model, original, images())


class Writing(Guarded):
    """Normalises its images in place, and hands them back."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        x.mul_(0.5)
        return x, self.second(self.first(self.guard(x)))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_what_is_written_into_images_reaches_the_caller(mode: Callable[[], Any]) -> None:
    model = lively(Writing())
    example = images()
    swap(model, example)
    assert isinstance(vars(model)["forward"], Entry) and torch.equal(example, images())
    with mode():
        x = images()
        same, _ = model(x)
    assert same is x and torch.equal(x, images() * 0.5)
