"""What users set for tensors that are made without a dtype or a device does not reach the library's own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import inception_fast as ifast
from tests.nn.modules import lively, truth

SHAPE = (2, 3, 17, 15)


class Net(nn.Module):
    """Siblings to merge, a pool over the border, a normalisation of the images, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 8, 3, 2, padding=1, bias=False), nn.BatchNorm2d(8, eps=1e-3)
        self.left, self.right = nn.Conv2d(8, 6, 1), nn.Conv2d(8, 6, (1, 3), padding=(0, 1))
        self.third, self.pool, self.head = nn.Conv2d(8, 4, 1), nn.AvgPool2d(3, 1, 1), nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn(self.stem(x[:, [2, 1, 0]] * 0.5 + 0.1)).relu()
        x = torch.cat([self.left(x).relu(), self.right(self.pool(x)).relu(), self.third(x).relu()], 1)
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


class WithForeign(Net):
    """An operator that stays PyTorch's is between."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.cumsum(3))


@contextmanager
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


SETTINGS: dict[str, Callable[[], Any]] = {"float64": double, "meta": lambda: torch.device("meta")}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("backend", ["cpu", "torch", "reference"])
@pytest.mark.parametrize("make", [Net, WithForeign])
def test_what_is_set(make: type[Net], backend: str, setting: Callable[[], Any], tmp_path: Path) -> None:
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    model = lively(make())
    expected, results = truth(model, x), dict[str, torch.Tensor]()
    with setting(), torch.no_grad():
        fast = ifast.optimize(model, x, backend=backend)
        results["optimize"] = fast(x)
        fast.save(tmp_path / "saved")
        results["load"] = ifast.load(tmp_path / "saved", backend, "cpu")(x)
        results["copy"] = copy.deepcopy(fast)(x)
        swapped = copy.deepcopy(model)
        ifast.swap(swapped, x, backend=backend)
        results["swap"] = swapped(x)
        swapped.head.bias.mul_(1)
        results["new weights"] = swapped(x)
    for way, result in results.items():
        assert result.dtype is torch.float32 and result.device.type == "cpu", way
        assert (result - expected).norm() <= 1e-5 * expected.norm(), way


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.filterwarnings("ignore:.*int8 is calibrated")
@pytest.mark.parametrize("options", [{"precision": "int8"}, {"sizes": "any"}], ids=["int8", "sizes"])
def test_what_is_set_with_options(options: dict[str, str], setting: Callable[[], Any]) -> None:
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    model = lively(Net())
    with setting():
        result = ifast.optimize(model, x, backend="cpu", **options)(x)
    usual = ifast.optimize(model, x, backend="cpu", **options)(x)
    assert result.dtype is torch.float32 and torch.equal(result, usual)  # type: ignore[union-attr,arg-type]
