"""Whole models, of which parts are served: the same results, in the same structure."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast.partition.partitioned_model import PartitionedModel
from tests.partition.comparing import assert_keeps_promise
from tests.partition.models import MODELS, model


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", MODELS)
def test_is_the_model_with_islands(name: str) -> None:
    module, (_, _, arguments, islands, any_batch) = model(name), MODELS[name]
    fast = ifast.optimize(module, arguments(2))
    assert isinstance(fast, PartitionedModel) and len(fast.engines) == islands
    for batch in (1, 2, 5) if any_batch else (2,):
        assert_keeps_promise(fast, module, *arguments(batch))


@pytest.mark.parametrize("backend", ["torch", "reference"])
@pytest.mark.parametrize("name", ["squeeze and excitation", "between branches", "video"])
def test_on_other_backends(name: str, backend: str) -> None:
    module, (_, _, arguments, *_) = model(name), MODELS[name]
    fast = ifast.optimize(module, arguments(1), backend=backend)
    assert fast.backend == backend
    assert_keeps_promise(fast, module, *arguments(3))


def test_one_region_that_is_everything_is_a_fast_model() -> None:
    module = copy.deepcopy(model("softmax head"))
    module.function = lambda m, x: m.logits(m.trunk(x))
    assert type(ifast.optimize(module, MODELS["softmax head"][2](1))) is ifast.FastModel


def test_what_nobody_serves_is_pytorchs_and_says_so() -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 4)).eval()
    x = torch.randn(3, 8)
    with pytest.warns(UserWarning, match="nothing of this model runs on fast kernels"):
        fast = ifast.optimize(module, x)
    assert fast.engines == {} and fast.backend == "torch"
    assert_keeps_promise(fast, module, x)
    assert "aten.gelu.default in '1'" in str(fast.report()) and "no convolution" in str(fast.report())


def test_what_cannot_be_measured_says_so() -> None:
    """Infinities in what is returned hide what becomes of rounding; the engines then add none of their own."""
    module = copy.deepcopy(model("softmax head"))
    module.function = lambda m, x: torch.erf(maps := m.trunk(x)) * 1e30 * 1e30 + maps
    with pytest.warns(UserWarning, match=r"could not be measured.*accuracy='eager'"):
        fast = ifast.optimize(module, MODELS["softmax head"][2](1))
    (engine,) = fast.engines.values()
    assert "no algorithm that adds rounding of its own" in str(engine.report())


def test_strict_refuses() -> None:
    with pytest.raises(ifast.UnsupportedOpError, match=r"aten\.softmax\.int.*at .*models\.py:\d+"):
        ifast.optimize(model("softmax head"), MODELS["softmax head"][2](1), strict=True)
