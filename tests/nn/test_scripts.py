"""swap of a module of torch.jit: it stays a script, and its forward pass is fast."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast import swap
from inception_fast.models.googlenet import Inception
from inception_fast.models.layers import BasicConv2d
from inception_fast.nn.in_place import InPlace
from tests.nn.modules import assert_same, lively

SHAPE = (2, 3, 12, 14)

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = BasicConv2d(3, 12, 3, padding=1), Inception(12, 4, 6, 8, 2, 4, 4)
        self.head = nn.Linear(20, 5)

    def forward(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return self.head(torch.erf(self.second(self.first(x)) * scale).mean((2, 3)))  # type: ignore[no-any-return]


def loaded(script: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    file = io.BytesIO()
    torch.jit.save(script, file)
    file.seek(0)
    return torch.jit.load(file)


WAYS: dict[str, Callable[[nn.Module], Any]] = {
    "scripted": torch.jit.script,
    "traced": lambda module: torch.jit.trace(module, torch.ones(SHAPE)),
    "loaded": lambda module: loaded(torch.jit.script(module)),
    "frozen": lambda module: torch.jit.freeze(torch.jit.script(module)),
}


@pytest.fixture(params=WAYS)
def pair(request: pytest.FixtureRequest) -> tuple[Any, nn.Module]:
    """A script, and the module that it was made of."""
    original = lively(Net())
    return WAYS[request.param](copy.deepcopy(original)), original


def test_stays_a_script(pair: tuple[Any, nn.Module]) -> None:
    script, original = pair
    kind, names = type(script), list(script.state_dict())
    report = swap(script, torch.zeros(SHAPE))
    assert [r.path for r in report.replaced] == [""] and isinstance(vars(script)["forward"], InPlace)
    assert type(script) is kind and list(script.state_dict()) == names
    for shape in (SHAPE, (3, 3, 15, 13)):
        assert_same(script, original, *shape)
    assert len(script.forward.forms) == 2
    for plain in (copy.deepcopy(script), loaded(script)):
        assert not isinstance(plain.forward, InPlace)
        torch.testing.assert_close(plain(torch.ones(SHAPE)), original(torch.ones(SHAPE)), rtol=1e-4, atol=1e-5)
    assert not swap(script, torch.zeros(SHAPE)).replaced
    report.undo()
    assert not isinstance(script.forward, InPlace)
    assert_same(script, original, *SHAPE)


@pytest.mark.parametrize("way", ["scripted", "traced", "loaded"])
def test_follows_its_weights(way: str) -> None:
    original = lively(Net())
    script = WAYS[way](copy.deepcopy(original))
    swap(script, torch.zeros(SHAPE))
    assert_same(script, original, *SHAPE)
    other = lively(Net(), seed=5)
    script.load_state_dict(other.state_dict())
    assert_same(script, other, *SHAPE)
    x = torch.randn(SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(script.double()(x.double()), other.double()(x.double()), rtol=1e-5, atol=1e-6)
    script.float()
    assert_same(script, other, *SHAPE)


def test_arguments_by_name() -> None:
    original = lively(Net())
    script = torch.jit.script(copy.deepcopy(original))
    swap(script, {"x": torch.zeros(SHAPE), "scale": 0.5})
    with torch.no_grad():
        got = script(x=torch.ones(SHAPE), scale=0.5)
        expected = original.double()(torch.ones(SHAPE).double(), 0.5)
    torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-5)
    assert len(script.forward.forms) == 1
    script.train()
    with pytest.raises(ifast.InputError, match="training: got True"):
        script(torch.ones(SHAPE))


def test_what_cannot_be_read_is_refused_with_a_remedy() -> None:
    quantised = torch.jit.script(torch.ao.nn.quantized.Conv2d(3, 4, 1).eval())
    with pytest.raises(ifast.InputTypeError, match="the floating-point model that it was made of"):
        swap(quantised, torch.zeros(SHAPE))
    script = torch.jit.script(lively(Net()))
    script.train()
    with pytest.raises(ifast.InputError, match="model: got training mode, expected eval mode"):
        swap(script, torch.zeros(SHAPE))
