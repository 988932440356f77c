"""What users do with a swapped model between its calls: each result is the one of the untouched model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast import swap
from inception_fast.models.googlenet import Inception
from inception_fast.models.layers import BasicConv2d
from inception_fast.nn.block import Block
from inception_fast.nn.in_place import InPlace
from tests.nn.modules import assert_same, lively
from tests.nn.test_swapping import Guard

SHAPE = (2, 3, 12, 14)


class Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = BasicConv2d(3, 12, 3, padding=1), Inception(12, 4, 6, 8, 2, 4, 4)
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(20, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.second(self.first(x)).mean((2, 3))))  # type: ignore[no-any-return]


class Parts(Whole):
    """Its parts are replaced one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.guard = Guard()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(self.guard(x))


KINDS = pytest.mark.parametrize("make", [Whole, Parts])


def pair(make: Callable[[], nn.Module]) -> tuple[Any, Any]:
    """A model that is swapped and has been called, and the same as it was."""
    original = lively(make())
    model = copy.deepcopy(original)
    swap(model, torch.zeros(SHAPE))
    whole = not isinstance(original, Parts)
    assert isinstance(vars(model)["forward"], InPlace) == whole != isinstance(model.second, Block)
    assert_same(model, original, *SHAPE)
    return model, original


def double(module: nn.Module, args: Any, result: torch.Tensor) -> torch.Tensor:
    return result * 2


@KINDS
@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(m.first.bn, "eps", 0.5),
        lambda m: setattr(m.first.conv, "padding", (0, 2)),
        lambda m: setattr(m.second.branch2[1].conv, "dilation", (1, 1)) or setattr(m.first.conv, "stride", (2, 1)),
        lambda m: setattr(m.second.branch1, "forward", lambda x: torch.ones_like(x[:, :4])),
        lambda m: setattr(m.second.branch1, "__class__", type("Twice", (BasicConv2d,), {"forward": twice})),
        lambda m: m.second.branch1.register_forward_hook(double),
        lambda m: m.first.conv.register_forward_pre_hook(lambda conv, args: (args[0] * 2,)),
        lambda m: nn.utils.parametrizations.weight_norm(m.first.conv).weight,
    ],
    ids=["number", "padding", "stride", "forward", "class", "hook", "pre-hook", "parametrisation"],
)
@pytest.mark.filterwarnings("ignore:.*runs on the original module")
def test_parts_that_change(make: Callable[[], nn.Module], change: Callable[[Any], object]) -> None:
    model, original = pair(make)
    for changed in (model, original):
        change(changed)
    assert_same(model, original, *SHAPE)


def twice(self: BasicConv2d, x: torch.Tensor) -> torch.Tensor:
    return BasicConv2d.forward(self, x) * 2


def test_a_hook_in_a_drop_in_module_is_called_and_said_once() -> None:
    model, _ = pair(Parts)
    seen: list[torch.Size] = []
    handle = model.second.branch1.register_forward_hook(lambda m, args, result: seen.append(result.shape))
    with pytest.warns(UserWarning, match=r"original module: BasicConv2d in it has a forward hook") as said:
        model(torch.ones(SHAPE))
        model(torch.ones(SHAPE))
    assert seen == [(2, 4, 12, 14)] * 2 and len(said) == 1
    handle.remove()
    model(torch.ones(SHAPE))
    assert len(seen) == 2


def test_dropout_at_inference() -> None:
    """One part in training mode, as for Monte Carlo dropout, is no mistake."""
    model, original = pair(Whole)
    engines = model.forward.forms
    model.drop.train()
    original.drop.train()
    with torch.no_grad(), pytest.warns(UserWarning, match="Dropout in it is in training mode"):
        torch.manual_seed(0)
        got = model(torch.ones(SHAPE))
    with torch.no_grad():
        torch.manual_seed(0)
        torch.testing.assert_close(got, original(torch.ones(SHAPE)))
    model.drop.eval()
    assert_same(model, original.eval(), *SHAPE)
    assert model.forward.forms == engines


class Scaled(BasicConv2d):
    """With numbers in containers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scales: list[Any] = [1.5, [2.0, 0.5]]
        self.by_name = {"all": (0.75,)}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * self.scales[0] * self.scales[1][1] * self.by_name["all"][0]


class WholeScaled(Whole):
    def __init__(self) -> None:
        super().__init__()
        self.first = Scaled(3, 12, 3, padding=1)


class PartsScaled(Parts):
    def __init__(self) -> None:
        super().__init__()
        self.first = Scaled(3, 12, 3, padding=1)


@pytest.mark.parametrize("make", [WholeScaled, PartsScaled])
@pytest.mark.parametrize(
    "change",
    [
        lambda part: part.scales.__setitem__(0, 3.0),
        lambda part: part.scales[1].__setitem__(1, 4.0),
        lambda part: part.by_name.update(all=(2.0,)),
    ],
    ids=["item", "item of an item", "value"],
)
def test_numbers_in_containers_that_are_written_to(
    make: Callable[[], nn.Module], change: Callable[[Any], object]
) -> None:
    model, original = pair(make)
    for changed in (model, original):
        change(changed.first)
    assert_same(model, original, *SHAPE)


def test_containers_of_the_model_itself_that_are_written_to() -> None:
    class Own(Whole):
        def __init__(self) -> None:
            super().__init__()
            self.scales = [1.5, [2.0]]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x * self.scales[0]) * self.scales[1][0]  # type: ignore[index]

    model = lively(Own())
    original = copy.deepcopy(model)
    swap(model, torch.zeros(SHAPE))
    assert_same(model, original, *SHAPE)
    for changed in (model, original):
        changed.scales[1][0] = 5.0
    assert_same(model, original, *SHAPE)


def test_containers_that_forward_writes_to_cost_nothing() -> None:
    class Counting(BasicConv2d):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.counts = {"calls": 0}

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.counts["calls"] += 1
            return super().forward(x)

    original = Whole()
    original.first = Counting(3, 12, 3, padding=1)
    model = lively(original)
    swap(model, torch.zeros(SHAPE))
    engines = model.forward.forms
    model.first.counts["calls"] += 1
    model(torch.ones(SHAPE))
    assert model.forward.forms == engines


def test_counts_in_a_part_cost_nothing() -> None:
    class Counting(BasicConv2d):
        calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return super().forward(x)

    original = Whole()
    original.first = Counting(3, 12, 3, padding=1)
    model = lively(original)
    swap(model, torch.zeros(SHAPE))
    engines = model.forward.forms
    model.first.calls += 1
    model(torch.ones(SHAPE))
    assert model.forward.forms == engines


def test_an_empty_batch() -> None:
    model, original = pair(Whole)
    empty = torch.zeros(0, *SHAPE[1:])
    with torch.no_grad():
        assert model(empty).shape == original(empty).shape == (0, 5)
        block = ifast.nn.InceptionBlock.from_torch(original.second, batch_invariant=True)
        assert block(torch.zeros(0, 12, 7, 9)).shape == (0, 20, 7, 9)
    assert_same(model, original, *SHAPE)


@pytest.mark.filterwarnings("ignore:.*runs on the original module")
def test_what_is_served_no_longer_runs_on_the_original() -> None:
    """Statistics of the batch, and parameters that are no parameters for one call."""
    model, original = pair(Whole)
    state = {name: value * 1.5 for name, value in original.state_dict().items()}
    with torch.no_grad():
        got = torch.func.functional_call(model, state, torch.ones(SHAPE))
        torch.testing.assert_close(got, torch.func.functional_call(original, state, torch.ones(SHAPE)))
    for changed in (model, original):
        changed.first.bn.running_mean = changed.first.bn.running_var = None
    assert_same(model, original, *SHAPE)


@KINDS
def test_undo_leaves_what_was_put_in_since(make: Callable[[], nn.Module]) -> None:
    model = lively(make())
    original = copy.deepcopy(model)
    report = swap(model, torch.zeros(SHAPE))
    other = lively(BasicConv2d(3, 12, 5, padding=2), seed=3)
    model.first, original.first = other, copy.deepcopy(other)  # type: ignore[assignment]
    assert_same(model, original, *SHAPE)
    report.undo()
    assert model.first is other and not isinstance(model.second, Block) and "forward" not in vars(model)
    assert_same(model, original, *SHAPE)


def test_export() -> None:
    model, original = pair(Whole)
    program = torch.export.export(model, (torch.ones(SHAPE),)).module()
    assert_same(program, original, *SHAPE)  # type: ignore[arg-type]
