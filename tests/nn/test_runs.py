"""Neighbours in a sequence that cannot be captured become one engine."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast import swap
from inception_fast.models.layers import BasicConv2d
from inception_fast.nn.block import Block
from inception_fast.nn.runs import Runs
from tests.nn.modules import lively
from tests.nn.test_swapping import Guard, block
from tests.partition.comparing import assert_keeps_promise


def images(n: int = 2, size: int = 20) -> torch.Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(n))


def sequence() -> nn.Sequential:
    layers = [BasicConv2d(3, 12, 3), nn.ReLU(), block(), Guard(), BasicConv2d(20, 8, 1), Guard(), nn.MaxPool2d(2)]
    return lively(nn.Sequential(*layers, BasicConv2d(8, 8, 3), nn.Flatten()))


def swapped() -> tuple[nn.Sequential, nn.Sequential, ifast.SwapReport]:
    model = sequence()
    original = copy.deepcopy(model)
    return model, original, swap(model, images())


def test_neighbours_are_one_engine() -> None:
    model, original, report = swapped()
    assert {r.path: r.kind for r in report.replaced} == {
        "0 to 2": "InceptionBlock",
        "4": "ConvBNReLU",
        "6 to 8": "Network",
    }
    assert type(model) is nn.Sequential and list(model.state_dict()) == list(original.state_dict())
    assert type(model[0]) is BasicConv2d and isinstance(model[4], Block)
    for x in (images(), images(1), images(3, 17)):
        assert_keeps_promise(model, original, x)


def test_follows_weights_and_parts() -> None:
    model, original, _ = swapped()
    for m in (model, original):
        m.load_state_dict(lively(sequence(), seed=4).state_dict())
    assert_keeps_promise(model, original, images())
    for m in (model, original):
        m[1] = nn.Sigmoid()
    assert_keeps_promise(model, original, images())
    for m in (model, original):
        m.append(nn.Tanh())
    assert_keeps_promise(model, original, images())


def test_copies() -> None:
    model, original, _ = swapped()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        with torch.no_grad():
            twin[0].conv.weight.mul_(2)
        own = copy.deepcopy(original)
        own.load_state_dict(twin.state_dict())
        assert_keeps_promise(twin, own, images())
        assert_keeps_promise(model, original, images())


def test_training_mode_and_undo() -> None:
    model, original, report = swapped()
    with pytest.raises(ifast.InputError, match="training: got True"):
        model.train()(images())
    report.undo()
    assert not any(isinstance(m, Block) for m in model.modules()) and "forward" not in vars(model)
    assert_keeps_promise(model.eval(), original, images())


def test_inside_of_a_larger_model() -> None:
    model = lively(nn.Sequential(nn.ModuleDict({"a": sequence()})["a"], nn.Flatten()))
    original = copy.deepcopy(model)
    report = swap(model, images())
    assert {r.path for r in report.replaced} == {"0.0 to 0.2", "0.4", "0.6 to 0.8"}
    assert isinstance(vars(model[0])["forward"], Runs)
    assert_keeps_promise(model, original, images(3))
