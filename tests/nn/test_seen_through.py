"""``optimize`` takes a swapped model for what it was; ``torch.jit.script`` is told what to do."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast import swap
from inception_fast.errors import CaptureError, InputTypeError
from inception_fast.nn.block import Block
from inception_fast.nn.installed import is_in_place
from tests.nn.modules import assert_same, lively
from tests.nn.test_changes import SHAPE, Parts, Whole
from tests.nn.test_in_place import Detector
from tests.partition.comparing import assert_keeps_promise


def in_parts() -> tuple[Any, Any]:
    """A model whose parts were replaced one by one, and whose branch is gone since; and what it was."""
    model = lively(Parts())
    original = copy.deepcopy(model)
    swap(model, torch.zeros(SHAPE))
    model.guard = original.guard = nn.Identity()
    assert is_in_place(model) and isinstance(model.first, Block) and isinstance(model.second, Block)
    return model, original


def whole() -> tuple[Any, Any]:
    model = lively(Whole())
    original = copy.deepcopy(model)
    swap(model, torch.zeros(SHAPE))
    return model, original


def by_hand() -> tuple[Any, Any]:
    """A drop-in module twice in a model of the user's."""
    layer = lively(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()))
    block = ifast.nn.InceptionBlock.from_torch(layer)
    return nn.Sequential(block, block).eval(), nn.Sequential(layer, layer).eval()


@pytest.mark.parametrize("make", [in_parts, whole, by_hand])
def test_optimize(make: Callable[[], tuple[Any, Any]]) -> None:
    model, original = make()
    before = [type(m) for m in model.modules()]
    fast = ifast.optimize(model, torch.zeros(SHAPE))
    assert isinstance(fast, ifast.FastModel)
    assert_same(fast, original, *SHAPE)
    # The swapped model is left as it was, and goes on.
    assert [type(m) for m in model.modules()] == before
    assert_same(model, original, *SHAPE)


def test_optimize_with_operators_of_pytorchs_between() -> None:
    model = lively(Detector())
    original = copy.deepcopy(model)
    x = torch.randn(2, 3, 33, 40, generator=torch.Generator().manual_seed(0))
    swap(model, x)
    assert_keeps_promise(ifast.optimize(model, x), original, x)


def test_a_forward_of_the_users_and_hooks_stay() -> None:
    model, original = in_parts()
    model.second.register_forward_hook(lambda *_: None)
    with pytest.raises(CaptureError, match="forward hook"):
        ifast.optimize(model, torch.zeros(SHAPE))
    assert not original.second._forward_hooks and not model.second.original._forward_hooks

    model = lively(Whole())
    model.forward = lambda x: model.head(model.second(model.first(x)).mean((2, 3))) * 2
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(x)
        swap(model, x)
        got = ifast.optimize(model, x)(x)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "make", [in_parts, whole, by_hand, lambda: (ifast.optimize(lively(Whole()), torch.zeros(SHAPE)),)]
)
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*deprecated")
def test_scripting_names_the_remedy(make: Callable[[], tuple[Any, ...]]) -> None:
    model = make()[0]
    with pytest.raises(InputTypeError, match=r"torch\.jit\.trace the fast one, or script the model"):
        torch.jit.script(model)
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.trace(model, x)(x), model(x))
