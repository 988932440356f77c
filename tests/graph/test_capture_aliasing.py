"""In-place ops reach every alias of their tensor, as they do in the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inception_fast.errors import UnsupportedOpError
from inception_fast.graph import export as export_module
from inception_fast.graph.capture import capture
from tests.graph.capturing import Model, check, example
from tests.packages import VARIANTS, build


def collected_then_relu(m: Any, x: Tensor) -> list[Tensor]:
    features = []
    for layer in (m.first, m.second):
        x = layer(x)
        features.append(x)
        F.relu_(x)
    return features


def flattened_then_relu(m: Any, x: Tensor) -> Tensor:
    y = m.first(x)
    flat = y.flatten(1)
    F.relu_(y)
    return flat


def relu_of_a_view(m: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    y = m.first(x)
    return F.relu_(y.view(y.shape[0], -1)), y


def relu_of_a_dropout_that_does_nothing(m: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    y = m.first(x)
    return F.relu_(F.dropout(y, training=False)), y


def relu_before_a_dropout_that_does_nothing(m: Any, x: Tensor) -> Tensor:
    y = m.first(x)
    dropped = F.dropout(y, 0.0, training=True)
    y.relu_()
    return dropped


def relu_of_contiguous(m: Any, x: Tensor) -> Tensor:
    y = m.first(x)
    y.contiguous().relu_()
    return y


def relu_of_detached(m: Any, x: Tensor) -> Tensor:
    y = m.first(x)
    y.detach().relu_()
    return y


def relu_of_the_same_type(m: Any, x: Tensor) -> Tensor:
    y = m.first(x)
    y.type_as(x).to(x.device).reshape(-1, 6, 5, 7).relu_()
    return y


def relu_after_a_reader(m: Any, x: Tensor) -> Tensor:
    y = m.first(x)
    z = m.second(y)
    F.relu_(y)
    return F.max_pool2d(y, 3) + F.max_pool2d(z, 3)


def addition_in_place(m: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    y = m.first(x)
    kept = y
    y += m.second(y)
    y *= 0.5
    return kept, F.relu(y)


def relu_twice(m: Any, x: Tensor) -> Tensor:
    y = m.first(x)
    F.relu_(F.relu_(y))
    return y


FORWARDS: list[Callable[[Any, Tensor], Any]] = [
    collected_then_relu,
    flattened_then_relu,
    relu_of_a_view,
    relu_of_a_dropout_that_does_nothing,
    relu_before_a_dropout_that_does_nothing,
    relu_of_contiguous,
    relu_of_the_same_type,
    relu_of_detached,
    relu_after_a_reader,
    addition_in_place,
    relu_twice,
]


@pytest.mark.parametrize("forward", FORWARDS)
def test_in_place(forward: Callable[[Any, Tensor], Any]) -> None:
    check(forward, first=nn.Conv2d(4, 6, 3), second=nn.Conv2d(6, 6, 3, padding=1))


def test_in_place_on_some_channels_is_refused() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.layer(x)
        y[:, :2].relu_()
        return y

    with pytest.raises(UnsupportedOpError, match="slice_scatter"):
        capture(Model(forward, layer=nn.Conv2d(4, 6, 3)), example())


@pytest.mark.parametrize("name", ["torchvision-googlenet-transform", "facenet-embedding", "pytorch-fid"])
def test_the_short_way_gives_the_same_graph(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving out the second trace changes nothing about the networks that are spared it."""
    model, image = build(name), torch.zeros(1, 3, 96, 96)
    short = capture(model, image).graph
    traced = []

    def always(program: Any) -> Any:
        traced.append(program)
        return program.run_decompositions({})

    monkeypatch.setattr(export_module, "functional", always)
    long = capture(model, image).graph
    assert traced and len(short.nodes) > 100
    assert str(long) == str(short)
    assert all(torch.equal(long.params[key], short.params[key]) for key in short.params)


@pytest.mark.parametrize("name", ["torchvision-inception_v3", "timm-inception_v4-features"])
def test_the_packages_take_the_short_way(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("traced twice")

    monkeypatch.setattr(torch.export.ExportedProgram, "run_decompositions", never)
    capture(VARIANTS[name].make().eval(), torch.zeros(1, 3, 107, 107))
