"""Conversions between float32 and the formats of storage, on every value and at every edge of rounding."""

from __future__ import annotations

import pytest
import torch

from inception_fast.backends.cuda import CudaExecutor
from inception_fast.plan.plan import Buffer, Constant, Destination, Output, Plan, PointwiseStep, Slice
from tests.backends.harness import CPU
from tests.cuda.driving import DTYPES


def multiply(x: torch.Tensor, scale: torch.Tensor | None, precision: str) -> torch.Tensor:
    """``x * scale`` of two vectors, as one pointwise step."""
    channels, dtype = len(x), str(DTYPES[precision]).removeprefix("torch.")
    buffers = (Buffer("x", 1, 1, channels, "input"), Buffer("y", 1, 1, channels, "output"))
    step = PointwiseStep("multiply", Slice(0, 0, channels), Destination(Slice(1, 0, channels), False))
    constants = {}
    if scale is not None:
        step = PointwiseStep("multiply", step.source, step.destination, scale="scale")
        constants = {"scale": scale}
    described = {name: Constant((channels,), "float32") for name in constants}
    plan = Plan(dtype, buffers, (step,), ((0,),), described, (Output(1, True),), 0)
    (y,) = CudaExecutor(plan, constants, CPU, precision).run(x.view(1, -1, 1, 1))
    return y.flatten()


def same(got: torch.Tensor, want: torch.Tensor) -> bool:
    return torch.equal(got.isnan(), want.isnan()) and torch.equal(got[~want.isnan()], want[~want.isnan()])


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_every_value_survives(precision: str) -> None:
    x = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int16).view(DTYPES[precision])
    assert same(multiply(x, None, precision), x)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_rounding_to_nearest_even(precision: str) -> None:
    """Every value, the midpoints between neighbours, and what is next to those, up to infinity."""
    dtype = DTYPES[precision]
    values = torch.arange(0, 1 << 15, dtype=torch.int16).view(dtype).float()
    values = values[values.isfinite()]
    middles = values[:-1] / 2 + values[1:] / 2
    beside = [torch.nextafter(middles, torch.full_like(middles, end)) for end in (0.0, torch.inf)]
    edges = torch.tensor([65519.996, 65520.0, 65536.0, 3.4028235e38, torch.inf, torch.nan, 2.0**-25, 2.0**-24 * 1.5])
    scale = torch.cat([values, middles, *beside, edges])
    for signed in (scale, -scale):
        assert same(multiply(torch.ones(len(signed), dtype=dtype), signed, precision), signed.to(dtype))
