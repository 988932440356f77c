"""Depthwise convolutions of small integers, where every sum is exact, against their definition."""

from __future__ import annotations

import random

import pytest
import torch

from inception_fast.plan.plan import Buffer, Constant, DepthwiseStep, Destination, Output, Plan, Slice
from tests.cpu.single_step import convolve, make_native, run_guarded, window

SHAPES = 150


def random_step(rng: random.Random) -> tuple[DepthwiseStep, tuple[Buffer, ...]]:
    """A slice of the input to a slice of the output; any taps, more pixels than an interior has, windows outside."""
    taps = rng.choice([window(3, 3), window(3, 3), window(1, 7), window(5, 5), tuple(rng.sample(window(9, 9), 4))])
    stride = rng.choice([(1, 1), (1, 1), (2, 2), (3, 1)])
    size = rng.randint(1, 14), rng.randint(1, 20)
    out = tuple(
        max(1, -(-extent // step) + rng.choice([0, 0, 1, -1])) for extent, step in zip(size, stride, strict=True)
    )
    channels, start = rng.choice([1, 3, 4, 8, 16, 17, 33, 70]), rng.choice([0, 0, 3])
    bias = rng.choice([None, "b"])
    target = Destination(Slice(1, 0, channels), rng.random() < 0.5)
    step = DepthwiseStep("tested", Slice(0, start, channels), target, "w", bias, taps, stride)
    return step, (Buffer("x", *size, start + channels + 1, "input"), Buffer("y", *out, channels, "output"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_exact(isa: str, dtype: torch.dtype) -> None:
    rng = random.Random(0)
    name = str(dtype).removeprefix("torch.")
    for _ in range(SHAPES):
        step, buffers = random_step(rng)
        channels, start, taps = step.source.channels, step.source.start, len(step.taps)
        constants = {"w": Constant((taps, channels), name)} | (
            {"b": Constant((channels,), "float32")} if step.bias else {}
        )
        plan = Plan(name, buffers, (step,), ((0,),), constants, (Output(1, False),), 0)
        values = {k: torch.randint(-3, 4, c.shape).double() for k, c in constants.items()}
        x = torch.randint(-3, 4, (rng.choice([1, 2, 3]), buffers[0].channels, buffers[0].height, buffers[0].width))
        weight = torch.diag_embed(values["w"]).permute(1, 0, 2)
        source, size = x[:, start : start + channels].double(), (buffers[1].height, buffers[1].width)
        want = convolve(source, weight, step.taps, step.stride, size)
        want += values["b"].view(-1, 1, 1) if step.bias else 0.0
        executor = make_native(plan, values, isa, threads=rng.choice([1, 1, 2, 5]))
        (got,) = run_guarded(executor, plan, x.to(dtype))
        assert torch.equal(got, (want.relu() if step.destination.relu else want).to(dtype)), step
