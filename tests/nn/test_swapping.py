"""swap: fast blocks inside a larger model."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast import SwapReport, swap
from inception_fast.models.googlenet import Inception
from inception_fast.models.layers import BasicConv2d
from inception_fast.nn.block import Block
from tests.graph.check import relative_error
from tests.nn.modules import BOUND, lively, truth


def block(channels: int = 12, seed: int = 0) -> nn.Module:
    """To 20 channels."""
    return lively(Inception(channels, 4, 6, 8, 2, 4, 4), seed)


class Guard(nn.Module):
    """A branch on values that is not taken for noise in their place, so that what has it cannot be captured, and parts
    of it are replaced one by one.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if ((x > 0) & (x < 1)).all():
            raise ValueError("neither images nor maps")
        return x


class Erf(nn.Module):
    """An operator that is not the family's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.erf(x)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch0 = BasicConv2d(12, 4, 1)
        self.branch1 = nn.Sequential(BasicConv2d(12, 4, 1), BasicConv2d(4, 6, 3, padding=1))
        self.conv2d = nn.Conv2d(10, 12, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv2d(torch.cat([self.branch0(x), self.branch1(x)], 1)) * 0.17 + x)


class Larger(nn.Module):
    """Blocks of every kind among layers that are not the family's."""

    def __init__(self) -> None:
        super().__init__()
        self.guard, self.stem = Guard(), nn.Sequential(nn.Conv2d(3, 12, 3, stride=2), Erf())
        self.layer = BasicConv2d(12, 12, 3, padding=1)
        self.residual = Residual()
        self.pair = nn.Sequential(
            BasicConv2d(12, 12, (1, 7), padding=(0, 3)), BasicConv2d(12, 12, (7, 1), padding=(3, 0))
        )
        self.deep = nn.ModuleList([nn.ModuleDict({"block": block()}), nn.Sequential(block(20), block(20))])
        self.mixed = nn.Sequential(BasicConv2d(20, 8, 1), Erf(), BasicConv2d(8, 8, 3))
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        x = self.pair(self.residual(self.layer(self.stem(self.guard(x)))))
        x = self.mixed(self.deep[1](self.deep[0]["block"](x)) * scale)
        # Takes the memory format of images for granted, as many models do.
        return self.head(x.view(x.shape[0], 8, -1).mean(2))


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(2, 3, 19, 17, generator=torch.Generator().manual_seed(1))


def assert_unchanged_results(model: nn.Module, original: nn.Module, *shapes: tuple[int, ...]) -> None:
    for shape in shapes:
        x = torch.randn(shape, generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            assert relative_error(model(x).double(), truth(original, x)) <= BOUND


def kinds(report: SwapReport) -> dict[str, str]:
    return {r.path: r.kind for r in report.replaced}


def reasons(report: SwapReport) -> dict[str, str]:
    return {r.path: r.reason for r in report.left_alone}


def test_replaces_every_kind(images: torch.Tensor) -> None:
    model = lively(Larger())
    original, keys = copy.deepcopy(model), list(model.state_dict())

    report = swap(model, images)

    assert kinds(report) == {
        "layer": "ConvBNReLU",
        "residual": "ResidualBlock",
        "pair": "FactorizedConv",
        "deep.0.block": "InceptionBlock",
        "deep.1": "Network",
        "mixed.0": "ConvBNReLU",
        "mixed.2": "ConvBNReLU",
    }
    assert type(model.layer) is ifast.nn.ConvBNReLU and type(model.pair) is ifast.nn.FactorizedConv
    assert type(model.residual) is type(model.deep[1]) is ifast.nn.InceptionBlock
    assert reasons(report).keys() == {"", "stem", "stem.0", "mixed"}
    assert "erf" in reasons(report)["stem"] and "erf" in reasons(report)["mixed"]
    assert reasons(report)[""].endswith("Guard, where a cut is: neither images nor maps")
    assert reasons(report)["stem.0"] == "a convolution on its own, with nothing to fuse"
    assert list(model.state_dict()) == keys
    assert_unchanged_results(model, original, (2, 3, 19, 17), (1, 3, 19, 17), (3, 3, 23, 16))


def test_report_for_people(images: torch.Tensor) -> None:
    report = swap(lively(Larger()), images)
    text = str(report)
    assert "replaced: 3 ConvBNReLU, 1 ResidualBlock, 1 FactorizedConv, 1 InceptionBlock, 1 Network" in text
    assert "deep.0.block: InceptionBlock, " in text and "mixed.1" not in text
    (residual,) = [r for r in report.replaced if r.path == "residual"]
    assert residual.reports[0].steps == {"conv": 3} and residual.reports[0].backend in ifast.backends()


def test_options(images: torch.Tensor) -> None:
    model = lively(Larger())
    swap(model, images, precision="bf16", backend="reference", batch_invariant=True)
    options = model.layer._engines.options
    assert (options.precision, options.backend, options.batch_invariant) == ("bf16", "reference", True)


@pytest.mark.filterwarnings("ignore:engines for")
def test_parts_share_the_limit_of_memory(images: torch.Tensor) -> None:
    model = lively(Larger())
    original = copy.deepcopy(model)
    swap(model, images)
    blocks = [m for m in model.modules() if isinstance(m, Block)]
    limit = sum(block.memory for block in blocks) + 3 * 2**20
    model = copy.deepcopy(original)
    assert len(swap(model, images, memory_limit=limit).replaced) == len(blocks)
    for width in range(15, 19):
        assert_unchanged_results(model, original, (1, 3, 19, width))
    blocks = [m for m in model.modules() if isinstance(m, Block)]
    assert all(block.memory for block in blocks) and sum(block.memory for block in blocks) <= limit


def test_new_weights_take_effect(images: torch.Tensor) -> None:
    model, other = lively(Larger()), lively(Larger(), seed=9)
    swap(model, images)
    model.load_state_dict(other.state_dict())
    assert_unchanged_results(model, other, (2, 3, 19, 17))


class CalledTwice(nn.Module):
    """One block at two sizes and under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = self.again = BasicConv2d(3, 3, 3)
        self.inner = nn.Sequential(Guard(), self.first)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.again(self.first(x)))


def test_shared_modules_and_several_sizes(images: torch.Tensor) -> None:
    model = lively(CalledTwice())
    original = copy.deepcopy(model)
    report = swap(model, images)
    assert model.first is model.again is model.inner[1] and isinstance(model.first, Block)
    assert [(r.path, len(r.reports)) for r in report.replaced] == [("first", 3)]
    assert_unchanged_results(model, original, (2, 3, 19, 17), (1, 3, 12, 30))


def test_a_second_swap_changes_nothing(images: torch.Tensor) -> None:
    model = lively(Larger())
    swap(model, images)
    blocks = [m for m in model.modules() if isinstance(m, Block)]
    assert not swap(model, images).replaced
    assert [m for m in model.modules() if isinstance(m, Block)] == blocks


class Passes(nn.Module):
    """Calls ``part`` with more than images."""

    def __init__(self, part: nn.Module, *rest: Any, **named: Any) -> None:
        super().__init__()
        self.part, self.rest, self.named = part, rest, named

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.part(x, *self.rest, **self.named)


class InPlace(BasicConv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.mul_(2))


class Flat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = BasicConv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x.unsqueeze(0)).squeeze(0)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.guard, self.used, self.unused = Guard(), BasicConv2d(3, 4, 1), BasicConv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.used(self.guard(x))


def training_part() -> nn.Module:
    model = lively(Passes(BasicConv2d(3, 4, 1)))
    model.part.bn.train()
    return model


def quantised_part() -> nn.Module:
    quantized = torch.ao.nn.quantized
    layers = quantized.Quantize(0.1, 0, torch.quint8), quantized.Conv2d(3, 4, 1), quantized.DeQuantize()
    return Passes(nn.Sequential(*layers)).eval()


@pytest.mark.parametrize(
    ("make", "path", "reason"),
    [
        (lambda: lively(Passes(InPlace(3, 4, 1))), "part", "changes"),
        (lambda: lively(Unused()), "unused", "the example did not call it"),
        (lambda: lively(Passes(nn.Sequential(Guard(), nn.Conv2d(3, 6, 1)))), "part.1", "a convolution on its own"),
        (training_part, "part", r"training mode \(module 'bn'\)"),
        (quantised_part, "part.1", "a quantised Conv2d, which cannot be captured"),
        (quantised_part, "part", r"got a quantised Quantize \(module '0'\)"),
    ],
)
def test_leaves_alone(make: Callable[[], nn.Module], path: str, reason: str, images: torch.Tensor) -> None:
    model = make()
    with torch.no_grad():
        expected = model(images.clone())
    report = swap(model, images.clone())
    with torch.no_grad():
        torch.testing.assert_close(model(images.clone()), expected, rtol=1e-4, atol=1e-5)
    assert re.search(reason, reasons(report)[path])
    assert path not in kinds(report)


def test_other_ranks(images: torch.Tensor) -> None:
    model = lively(Passes(Flat()))
    report = swap(model, images[0])
    assert kinds(report) == {"part.conv": "ConvBNReLU"}
    assert reasons(report).keys() == {"", "part"} and "too few" in reasons(report)["part"]


def test_hooks_elsewhere_go_on(images: torch.Tensor) -> None:
    """Hooks of the model and of layers that stay; those that swap needs itself are gone."""
    model, seen = lively(Larger()), []
    model.register_forward_hook(lambda *_: seen.append("model"))
    model.head.register_forward_hook(lambda *_: seen.append("head"))
    swap(model, images)
    seen.clear()
    with torch.no_grad():
        model(images)
    assert seen == ["head", "model"]
    assert not any(m._forward_pre_hooks for m in model.modules())


class Indexed(nn.Module):
    """Needs its part to be a Sequential."""

    def __init__(self) -> None:
        super().__init__()
        self.guard, self.part = Guard(), nn.Sequential(BasicConv2d(3, 4, 1), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.part(self.guard(x)) + len(self.part)


def test_restores_what_does_not_run(images: torch.Tensor) -> None:
    model = lively(Indexed())
    part = model.part
    with pytest.raises(ifast.InceptionFastError, match=r"with the parts replaced, and was restored: .*len"):
        swap(model, images)
    assert model.part is part and type(part) is nn.Sequential
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_a_model_that_fails_is_left_as_it_was(images: torch.Tensor) -> None:
    model = lively(Larger())
    with pytest.raises(RuntimeError):
        swap(model, images[:, :2])
    assert not any(isinstance(m, Block) or m._forward_pre_hooks for m in model.modules())


class Detector(nn.Module):
    """Takes a list of images of any sizes, as torchvision's detectors do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = BasicConv2d(3, 4, 3)

    def forward(self, images: list[torch.Tensor]) -> list[torch.Tensor]:
        return [self.layer(image[None]) for image in images]


def test_tensors_inside_of_arguments(images: torch.Tensor) -> None:
    model = lively(Detector())
    layer, given = model.layer, [images[0], images[1, :, 3:]]
    report = swap(model, (given,))
    assert kinds(report) == {"layer": "ConvBNReLU"} and len(report.replaced[0].reports) == 2
    with torch.no_grad():
        for got, image in zip(model(given), given, strict=True):
            assert relative_error(got.double(), truth(layer, image[None])) <= BOUND


def test_extra_arguments(images: torch.Tensor) -> None:
    model = lively(Larger())
    assert len(swap(model, (images, 2.0)).replaced) == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a | {"model": 3}, "model: got int"),
        (lambda a: a | {"model": lively(Larger()).train()}, "model: got training mode, expected eval mode"),
        (lambda a: a | {"example_inputs": ([3, {"a": 2.0}],)}, "example_inputs: got 1 arguments without a tensor"),
        (lambda a: a | {"example_inputs": ()}, "example_inputs: got 0 arguments without a tensor"),
        (lambda a: a | {"precision": "fp12"}, "precision: got 'fp12'"),
        (lambda a: a | {"precision": "int8"}, "precision: got 'int8', .*calibrated on images.*optimize.*does that"),
        (lambda a: a | {"backend": "gpu"}, "backend: got 'gpu'"),
        (lambda a: a | {"memory_limit": -1}, "memory_limit: got -1, expected bytes"),
    ],
)
def test_bad_arguments(change: Callable[[dict[str, Any]], dict[str, Any]], message: str, images: torch.Tensor) -> None:
    with pytest.raises(ifast.InputError, match=message):
        swap(**change({"model": lively(Larger()), "example_inputs": images}))
