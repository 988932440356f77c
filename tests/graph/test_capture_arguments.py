"""Arguments that a capture could overlook: each is given alone, where nothing else would give it away."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from inception_fast.errors import UnsupportedOpError
from inception_fast.graph.capture import capture
from tests.graph.capturing import SHAPE, Model, check, example

V = torch.linspace(-1, 2, SHAPE[0]).view(-1, 1, 1)

SUMS = {
    "add": lambda m, x: torch.add(x, m.v, alpha=-0.7),
    "add to a constant": lambda m, x: torch.add(m.v, x, alpha=-0.7),
    "sub": lambda m, x: torch.sub(x, m.v, alpha=3),
    "sub from a constant": lambda m, x: torch.sub(m.v, x, alpha=3),
    "sub a number": lambda m, x: torch.sub(x, 2, alpha=0.5),
    "rsub": lambda m, x: torch.rsub(x, m.v, alpha=3),
    "rsub a number": lambda m, x: torch.rsub(x, 2, alpha=0.5),
}


@pytest.mark.parametrize("name", SUMS)
def test_alpha_of_a_constant_operand(name: str) -> None:
    check(SUMS[name], v=V)


@pytest.mark.parametrize("factors", [(2.0, 1.3), (1.3, 2.0), (1.3, 1.3)])
def test_uneven_factor_of_either_axis(factors: tuple[float, float]) -> None:
    model = Model(lambda m, x: F.interpolate(x, scale_factor=factors, mode="bilinear"))
    with pytest.raises(UnsupportedOpError, match="does not give a whole number of pixels"):
        capture(model, example())


@pytest.mark.parametrize("factors", [(2.0, 3.0), (3.0, 1.0)])
def test_factors_that_differ(factors: tuple[float, float]) -> None:
    check(lambda m, x: F.interpolate(x, scale_factor=factors, mode="bilinear"))


def remember(model: Any, x: Tensor) -> Tensor:
    y = x * 2
    model.listed.append(y)
    model.named["y"] = y
    model.ordered["y"] = y
    model.ordered.move_to_end("old")
    model.several.add(y)
    return y


def test_containers_of_every_kind_get_their_items_back() -> None:
    old = torch.ones(1)
    model = Model(remember)
    vars(model).update(listed=[old], named={"old": old}, ordered=OrderedDict(old=old, last=old), several={old})
    capture(model, example())
    for container in (model.listed, [*model.named.values()], [*model.several]):
        assert len(container) == 1 and container[0] is old
    assert list(model.named) == ["old"] and list(model.ordered) == ["old", "last"]


def test_a_module_called_by_keyword() -> None:
    check(lambda m, x: m.a(input=x), a=torch.nn.Conv2d(SHAPE[0], 5, 3))
