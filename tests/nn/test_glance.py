"""A short look at a module sees every change that a new engine, or the module itself, has to answer."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast.models.googlenet import Inception
from inception_fast.models.layers import BasicConv2d
from inception_fast.nn.block import trains
from inception_fast.nn.glance import Glance
from tests.nn.modules import assert_same, lively


class Model(nn.Module):
    """With parts and parameters that are None, as libraries have them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = BasicConv2d(3, 12, 3), Inception(12, 4, 6, 8, 2, 4, 4)
        self.drop, self.nothing = nn.Dropout(0.5), None
        self.register_module("no_part", None)
        self.scale, self.sizes, self.count = 1.0, [1, 2], 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return self.drop(self.second(self.first(x))) * self.scale  # type: ignore[no-any-return]


@pytest.fixture
def model() -> Any:
    return lively(Model())


def taken(model: nn.Module) -> Glance:
    glance = Glance.of(model, trains)
    assert glance is not None and glance.holds()
    return glance


def weight(model: Any) -> nn.Parameter:
    return model.first.conv.weight  # type: ignore[no-any-return]


CHANGES: dict[str, Callable[[Any], object]] = {
    "values": lambda m: torch.no_grad()(weight(m).mul_)(2),
    "memory": lambda m: setattr(weight(m), "data", weight(m).data.clone()),
    "parameter": lambda m: setattr(m.first.conv, "weight", nn.Parameter(weight(m).data)),
    "new parameter": lambda m: setattr(m.first.conv, "bias", nn.Parameter(torch.zeros(12))),
    "no parameter": lambda m: setattr(m.first.bn, "bias", None),
    "buffer": lambda m: m.first.bn.running_mean.zero_(),
    "other buffer": lambda m: setattr(m.first.bn, "running_mean", torch.zeros(12)),
    "part": lambda m: setattr(m, "second", lively(Inception(12, 4, 6, 8, 2, 4, 4))),
    "new part": lambda m: setattr(m, "no_part", nn.ReLU()),
    "one part more": lambda m: m.second.add_module("more", nn.ReLU()),
    "one part less": lambda m: m._modules.pop("drop"),
    "class": lambda m: setattr(m.first, "__class__", type("Other", (BasicConv2d,), {})),
    "forward": lambda m: setattr(m.first, "forward", lambda x: x),
    "mode": lambda m: m.drop.train(),
    "hook": lambda m: m.first.conv.register_forward_hook(lambda *_: None),
    "pre-hook": lambda m: m.register_forward_pre_hook(lambda *_: None),
    "number": lambda m: setattr(m, "scale", 2.0),
    "number of a part": lambda m: setattr(m.first.bn, "eps", 0.5),
    "no number": lambda m: delattr(m, "scale"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_sees(change: Callable[[Any], object], model: Any) -> None:
    glance = taken(model)
    change(model)
    assert not glance.holds()


def test_looks_past_what_does_not_matter(model: Any) -> None:
    glance = taken(model)
    before = model.first
    with torch.no_grad():
        model(torch.zeros(1, 3, 9, 9))
    model.first, model.drop.training = nn.ReLU(), True
    assert not glance.holds()
    model.first, model.drop.training = before, False
    handle = model.first.register_forward_hook(lambda *_: None)
    assert model.count == 1 and not glance.holds()
    handle.remove()
    # Equal, and another object.
    model.scale = float("1")
    assert glance.holds()


def test_other_values(model: Any) -> None:
    glance = Glance.of(model, trains, lambda: list(model.sizes))
    assert glance is not None and glance.holds()
    model.sizes[0] = 2
    assert not glance.holds()


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.drop.train(),
        lambda m: m.first.register_forward_hook(lambda *_: None),
        lambda m: setattr(m, "first", torch.jit.script(m.first)),
    ],
    ids=["mode", "hook", "script"],
)
def test_none_of_what_it_could_not_tell(change: Callable[[Any], object], model: Any) -> None:
    change(model)
    assert Glance.of(model, trains) is None


def test_none_of_tensors_without_versions() -> None:
    with torch.inference_mode():
        assert Glance.of(lively(Model()), trains) is None


def test_keeps_nothing_alive(model: Any) -> None:
    glance = taken(model)
    gone = [weakref.ref(model.second), weakref.ref(model.second.branch1.conv.weight)]
    model.second = nn.ReLU()
    gc.collect()
    assert [reference() for reference in gone] == [None, None] and not glance.holds()


def test_known_calls_of_blocks_take_no_other_look(monkeypatch: pytest.MonkeyPatch, block: nn.Module) -> None:
    fast = ifast.nn.InceptionBlock.from_torch(block)
    assert_same(fast, block, 2, 12, 9, 11)
    monkeypatch.setattr(type(fast), "engine_for", lambda *_: pytest.fail("it looked at everything"))
    assert_same(fast, block, 2, 12, 9, 11)
    monkeypatch.undo()
    with torch.no_grad():
        block.branch1.conv.weight.mul_(-2)  # type: ignore[union-attr,operator]
    assert_same(fast, block, 2, 12, 9, 11)
