"""Whole models, of which parts are served: the same results, in the same structure."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils import _pytree as pytree

import inception_fast as ifast
from inception_fast.partition.partitioned_model import PartitionedModel
from tests.nn.modules import lively
from tests.partition.comparing import assert_keeps_promise
from tests.partition.models import MODELS, Parts, images, model


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
@pytest.mark.parametrize("name", ["gate of nobody", "between branches", "video"])
def test_on_other_backends(name: str, backend: str) -> None:
    module, (_, _, arguments, *_) = model(name), MODELS[name]
    fast = ifast.optimize(module, arguments(1), backend=backend)
    assert fast.backend == backend
    assert_keeps_promise(fast, module, *arguments(3))


def test_one_region_that_is_everything_is_a_fast_model() -> None:
    module = copy.deepcopy(model("softplus head"))
    module.function = lambda m, x: m.logits(m.trunk(x))
    assert type(ifast.optimize(module, MODELS["softplus head"][2](1))) is ifast.FastModel


def test_what_nobody_serves_is_pytorchs_and_says_so() -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.Softplus(), nn.Linear(8, 4)).eval()
    x = torch.randn(3, 8)
    with pytest.warns(UserWarning, match="nothing of this model runs on fast kernels"):
        fast = ifast.optimize(module, x)
    assert fast.engines == {} and fast.backend == "torch"
    assert_keeps_promise(fast, module, x)
    assert "aten.softplus.default in '1'" in str(fast.report()) and "no convolution" in str(fast.report())


@pytest.mark.filterwarnings("ignore:.create_unbacked_symint.:FutureWarning")
def test_counts_that_a_trace_takes_for_large_are_refused() -> None:
    """Boxes that are left may be none, or one."""
    ops = pytest.importorskip("torchvision.ops")

    def boxes(m: Parts, x: torch.Tensor) -> torch.Tensor:
        y = m.logits(m.trunk(x))
        corners = y[:, :4].abs().cumsum(1)
        return corners[ops.nms(corners, y[:, 4], 0.5)]

    with pytest.raises(ifast.CaptureError, match=r"follows from values, .* hold from 2 on; inception_fast\.swap"):
        ifast.optimize(Parts(boxes).eval(), images(2))


def test_counts_that_differ_while_traced_are_refused() -> None:
    def large(m: Parts, x: torch.Tensor) -> torch.Tensor:
        y = m.logits(m.trunk(x))
        return y[y > (0 if torch.compiler.is_compiling() else 1)].square()

    with pytest.raises(ifast.CaptureError, match="otherwise while it is traced"):
        ifast.optimize(lively(Parts(large)), images(2))


def test_what_cannot_be_measured_says_so() -> None:
    """Infinities in what is returned hide what becomes of rounding; the engines then add none of their own."""
    module = copy.deepcopy(model("softplus head"))
    module.function = lambda m, x: torch.erf(maps := m.trunk(x)) * 1e30 * 1e30 + maps
    with pytest.warns(UserWarning, match=r"could not be measured.*accuracy='eager'"):
        fast = ifast.optimize(module, MODELS["softplus head"][2](1))
    (engine,) = fast.engines.values()
    assert "no algorithm that adds rounding of its own" in str(engine.report())


def test_strict_refuses() -> None:
    with pytest.raises(ifast.UnsupportedOpError, match=r"aten\.softplus\.default.*at .*models\.py:\d+"):
        ifast.optimize(model("softplus head"), MODELS["softplus head"][2](1), strict=True)


MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
NATIVE: dict[str, Callable[[Parts, torch.Tensor], Any]] = {
    "colours in another order": lambda m, x: m.logits(m.trunk((x.flip(1) - MEAN) / STD)),
    "colours by an index": lambda m, x: m.logits(m.trunk(((x - MEAN) / STD)[:, [2, 1, 0]])),
    "grey": lambda m, x: m.logits(m.trunk(x[:, [0, 0, 0]])),
    "margins of a number": lambda m, x: m.logits(m.trunk(F.pad(x, (1, 0, 2, 1), value=0.5))),
    "margins in front of pools": lambda m, x: m.logits(
        F.avg_pool2d(nn.ConstantPad2d(1, 2.0)(F.max_pool2d(F.pad(m.trunk(x), (0, 1, 0, 1), value=-0.25), 3, 2)), 2)
    ),
    "margins of margins": lambda m, x: m.logits(m.trunk(F.pad(F.pad(x, (1, 1), value=0.5), (0, 0, 1, 2), value=0.25))),
    "softmax": lambda m, x: m.logits(m.trunk(x)).softmax(1),
    "labels": lambda m, x: {"labels": torch.sigmoid(m.logits(m.trunk(x)))},
    "squeeze and excitation": lambda m, x: m.logits((y := m.trunk(x)) * y.mean((2, 3), True).sigmoid()),
    "local response norm": lambda m, x: m.logits(m.block(F.local_response_norm(m.trunk(x), 5, 1e-2))),
    "functions": lambda m, x: F.gelu(m.logits(F.silu(m.block(F.hardswish(m.trunk(x)))))),
    "uneven pool": lambda m, x: F.adaptive_avg_pool2d(m.trunk(x), (5, 7)),
}


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("name", NATIVE)
def test_what_every_backend_serves_is_one_engine(name: str, precision: str) -> None:
    module = lively(Parts(NATIVE[name]))
    fast = ifast.optimize(module, images(8), precision=precision, strict=True)
    assert type(fast) is ifast.FastModel
    if precision == "fp32":
        assert_keeps_promise(fast, module, images(3))
        return
    want = pytree.tree_leaves(copy.deepcopy(module).double()(images(8).double()))
    for got, truth in zip(pytree.tree_leaves(fast(images(8))), want, strict=True):
        assert (got - truth).norm() <= {"bf16": 0.03, "int8": 0.15}[precision] * truth.norm()
