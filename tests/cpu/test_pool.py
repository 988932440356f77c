"""Pools over every kind of number: a maximum is exact, keeps its sign, and a NaN of either sign stays."""

from __future__ import annotations

import random

import pytest
import torch
from torch.nn import functional

from inception_fast.plan.plan import Buffer, Destination, Output, Plan, PoolStep, Slice
from tests.cpu.single_step import make_native, run_guarded


def values(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    """Any bits, so that NaN, infinities, subnormals and negative zeros are among them, but few NaN."""
    integers = torch.int32 if dtype == torch.float32 else torch.int16
    bits = torch.randint(-(2**31), 2**31, shape).to(integers).view(dtype)
    return torch.where(bits.isnan() & (torch.rand(shape) < 0.9), torch.randn(shape).to(dtype), bits)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_maximum(isa: str, dtype: torch.dtype, relu: bool) -> None:
    torch.manual_seed(0)
    rng = random.Random(0)
    for _ in range(40):
        kernel, stride, padding = rng.choice([(3, 2, 0), (3, 2, 1), (3, 1, 1), (2, 2, 0)])
        channels, size, batch = rng.choice([1, 15, 31, 32, 33, 70]), rng.randint(kernel, 11), rng.choice([1, 3])
        x = values(dtype, batch, channels, size, size)
        want = functional.max_pool2d(x.double(), kernel, stride, padding)
        target = Destination(Slice(1, 0, channels), relu)
        window = (kernel, kernel), (stride, stride), (padding, padding), (padding, padding)
        step = PoolStep("pool", "max", Slice(0, 0, channels), target, *window)
        out = Buffer("y", want.shape[2], want.shape[3], channels, "output")
        buffers = (Buffer("x", size, size, channels, "input"), out)
        plan = Plan(str(dtype).removeprefix("torch."), buffers, (step,), ((0,),), {}, (Output(1, False),), 0)
        (got,) = run_guarded(make_native(plan, {}, isa, threads=rng.choice([1, 2])), plan, x)
        torch.testing.assert_close(got.double(), want.relu() if relu else want, rtol=0, atol=0, equal_nan=True)
