"""The environment chooses among the drivers, which give the same bits, and the report says which it was."""

from __future__ import annotations

import pytest
import torch

import inception_fast as ifast
from inception_fast.backends.cuda import DRIVER
from inception_fast.errors import InputError
from tests.cuda.packages_check import check_package


class Factorized(torch.nn.Sequential):
    def __init__(self) -> None:
        row = torch.nn.Conv2d(12, 20, (1, 7), padding=(0, 3))
        column = torch.nn.Conv2d(20, 9, (7, 1), padding=(3, 0))
        super().__init__(row, torch.nn.ReLU(), column, torch.nn.ReLU())


def test_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = Factorized().eval(), torch.randn(2, 12, 9, 8)
    monkeypatch.delenv(DRIVER, raising=False)
    fast = ifast.optimize(model, x, backend="cuda")
    assert fast.report().driver == "stage" and "cuda (stage driver)" in str(fast.report())
    assert fast.report().steps == {"pair": 1}
    with torch.no_grad():
        for driver in ("stage", "pair", "network"):
            monkeypatch.setenv(DRIVER, driver)
            other = ifast.optimize(model, x, backend="cuda")
            assert other.report().driver == driver
            assert torch.equal(other(x), fast(x))


@pytest.mark.slow
def test_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs on a device for every package, here for the smallest network."""
    check_package("facenet-embedding", (91, 101), torch.device("cpu"), monkeypatch)


def test_driver_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DRIVER, "stages")
    with pytest.raises(InputError, match=rf"^{DRIVER}: got 'stages', expected one of 'stage', 'pair', 'network'$"):
        ifast.optimize(Factorized().eval(), torch.randn(1, 12, 9, 8), backend="cuda")
