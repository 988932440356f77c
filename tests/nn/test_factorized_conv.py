"""FactorizedConv: 1xn and nx1 as one module."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models.inception import BasicConv2d

import inception_fast as ifast
from inception_fast.plan.plan import PairStep
from tests.nn.modules import assert_same, lively

ROW = {"kernel_size": (1, 7), "padding": (0, 3)}
COLUMN = {"kernel_size": (7, 1), "padding": (3, 0)}


@pytest.mark.parametrize("kernels", [(ROW, COLUMN), (COLUMN, ROW)], ids=["row first", "column first"])
@pytest.mark.parametrize("whole", [True, False], ids=["one module", "two modules"])
def test_from_torch(kernels: tuple[dict, dict], whole: bool) -> None:
    plain = lively(nn.Sequential(BasicConv2d(6, 4, **kernels[0]), BasicConv2d(4, 5, **kernels[1])))
    fast = ifast.nn.FactorizedConv.from_torch(*([plain] if whole else plain.children()))
    for shape in [(2, 6, 9, 11), (1, 6, 3, 17)]:
        assert_same(fast, plain, *shape)
    assert list(fast.state_dict()) == list(plain.state_dict())


@pytest.mark.parametrize("column_first", [False, True])
def test_made_directly(column_first: bool) -> None:
    kernels = ((5, 1), (1, 5)) if column_first else ((1, 5), (5, 1))
    donor = lively(
        nn.Sequential(
            BasicConv2d(6, 4, kernel_size=kernels[0], padding=(kernels[0][0] // 2, kernels[0][1] // 2)),
            BasicConv2d(4, 7, kernel_size=kernels[1], padding=(kernels[1][0] // 2, kernels[1][1] // 2)),
        )
    )
    fast = ifast.nn.FactorizedConv(6, 7, 5, middle_channels=4, column_first=column_first)
    fast.load_state_dict(donor.state_dict())
    assert_same(fast.eval(), donor, 2, 6, 9, 11)


def test_is_one_step_where_the_backend_can() -> None:
    fast = ifast.nn.FactorizedConv(6, 4, backend="reference").eval()
    (step,) = fast.engine_for(torch.zeros(1, 6, 9, 11)).plan.steps
    assert isinstance(step, PairStep)


def test_refuses_two_of_one_kind() -> None:
    layers = [lively(BasicConv2d(4, 4, **ROW)) for _ in range(2)]
    with pytest.raises(ifast.InputError, match="module: got several layers or blocks, expected a 1xn convolution"):
        ifast.nn.FactorizedConv.from_torch(*layers)


@pytest.mark.parametrize("length", [0, 1, 4])
def test_refuses_lengths_without_a_middle(length: int) -> None:
    with pytest.raises(ifast.InputError, match=f"length: got {length}, expected an odd number"):
        ifast.nn.FactorizedConv(4, 4, length)


@pytest.mark.parametrize("count", [0, 3])
def test_refuses_wrong_numbers_of_layers(count: int) -> None:
    with pytest.raises(ifast.InputError, match=f"modules: got {count} modules"):
        ifast.nn.FactorizedConv.from_torch(*[nn.Conv2d(4, 4, 1)] * count)
