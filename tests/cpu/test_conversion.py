"""Rounding to and from bfloat16 and float16 agrees with PyTorch's bit for bit."""

from __future__ import annotations

import pytest
import torch

from inception_fast.plan.plan import Buffer, Constant, Destination, Output, Plan, PointwiseStep, Slice
from tests.cpu.single_step import make_native, run_guarded

DTYPES = [torch.bfloat16, torch.float16]
CHANNELS = 4099


def pointwise_plan(dtype: torch.dtype, shift: bool) -> Plan:
    name = str(dtype).removeprefix("torch.")
    buffers = (Buffer("x", 1, 1, CHANNELS, "input"), Buffer("y", 1, 1, CHANNELS, "output"))
    target = Destination(Slice(1, 0, CHANNELS), False)
    step = PointwiseStep("step", Slice(0, 0, CHANNELS), target, shift="shift" if shift else None)
    constants = {"shift": Constant((CHANNELS,), "float32")} if shift else {}
    return Plan(name, buffers, (step,), ((0,),), constants, (Output(1, False),), 0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_value_survives_a_copy(isa: str, dtype: torch.dtype) -> None:
    plan = pointwise_plan(dtype, shift=False)
    executor = make_native(plan, {}, isa)
    everything = torch.arange(-(2**15), 2**15).to(torch.int16).view(dtype)
    for values in everything.split(CHANNELS):
        x = torch.zeros(CHANNELS, dtype=dtype)
        x[: len(values)] = values
        (y,) = run_guarded(executor, plan, x.view(1, CHANNELS, 1, 1))
        assert torch.equal(y.flatten().isnan(), x.isnan())
        kept = ~x.isnan()
        assert torch.equal(y.flatten()[kept].view(torch.int16), x[kept].view(torch.int16))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sums_are_rounded_to_nearest_even(isa: str, dtype: torch.dtype) -> None:
    """Zero plus a float32 shift: ties, subnormals, the edges of the range, infinities and NaN."""
    plan = pointwise_plan(dtype, shift=True)
    bits = torch.randint(-(2**31), 2**31, (CHANNELS,)).to(torch.int32)
    bits[:1000] = bits[:1000] // 2**13 * 2**13
    shift = bits.view(torch.float32)
    small = torch.finfo(dtype).tiny * torch.randn(1000)
    shift[1000:2000], shift[2000:3000] = small, torch.randn(1000)
    largest = torch.finfo(dtype).max
    special = [0.0, -0.0, largest, -largest, largest * (1 + torch.finfo(dtype).eps / 4), float("inf"), float("nan")]
    shift[3000 : 3000 + len(special)] = torch.tensor(special)
    executor = make_native(plan, {"shift": shift}, isa)
    (y,) = run_guarded(executor, plan, torch.zeros(1, CHANNELS, 1, 1, dtype=dtype))
    want = shift.to(dtype)
    assert torch.equal(y.flatten().isnan(), want.isnan())
    assert torch.equal(y.flatten()[~want.isnan()], want[~want.isnan()])
