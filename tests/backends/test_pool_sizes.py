"""Pools whose result has any size: neither rounding of PyTorch's need give it, and the end's padding may differ."""

from __future__ import annotations

import random

import pytest
import torch

from inception_fast.backends import get_backend
from inception_fast.plan.plan import Buffer, Constant, Destination, Output, Plan, PoolStep, Slice
from tests.backends.harness import CPU
from tests.plan.definition import pooled

CHANNELS = 5
POOLS = 60


def random_pool(rng: random.Random) -> tuple[PoolStep, Plan]:
    """A pool all of whose windows see a pixel."""
    mode = rng.choice(["max", "avg"])
    axes = []
    for _ in range(2):
        kernel, stride, extent = rng.randint(1, 4), rng.randint(1, 4), rng.randint(3, 11)
        begin, end = rng.randint(0, kernel - 1), rng.randint(0, kernel - 1)
        size = rng.randint(1, (extent + begin - 1) // stride + 1)
        axes.append((kernel, stride, extent, begin, end, size))
    kernel, stride, extent, begin, end, size = zip(*axes, strict=True)
    bias = "bias" if mode == "avg" and rng.random() < 0.5 else None
    step = PoolStep(
        "pool",
        mode,  # type: ignore[arg-type]
        Slice(0, 0, CHANNELS),
        Destination(Slice(1, 0, CHANNELS), rng.random() < 0.5),
        kernel,
        stride,
        begin,
        end,
        rng.choice(["window", "inside"]),  # type: ignore[arg-type]
        bias,
    )
    buffers = (Buffer("x", *extent, CHANNELS, "input"), Buffer("y", *size, CHANNELS, "output"))
    constants = {} if bias is None else {bias: Constant((CHANNELS,), "float32")}
    return step, Plan("float32", buffers, (step,), ((0,),), constants, (Output(1, False),), 0)


def test_any_size(backend: str) -> None:
    rng = random.Random(0)
    torch.manual_seed(0)
    for _ in range(POOLS if backend != "triton" else POOLS // 6):
        step, plan = random_pool(rng)
        bias = torch.randn(CHANNELS)
        constants = {"bias": bias} if plan.constants else {}
        x = torch.randn(2, CHANNELS, plan.buffers[0].height, plan.buffers[0].width)
        executor = get_backend(backend).compile(plan, constants, device=CPU, precision="fp32")
        size = (plan.buffers[1].height, plan.buffers[1].width)
        got = executor.run(x)[0].double()
        want = pooled(step, x.double(), size, bias if constants else None)
        want = want.relu() if step.destination.relu else want
        torch.testing.assert_close(got, want, rtol=0, atol=2e-6, msg=lambda text, s=step: f"{s}\n{text}")


@pytest.mark.parametrize("axis", [0, 1])
def test_windows_that_end_beyond_the_padding(backend: str, axis: int) -> None:
    """Along one side alone: what is there counts neither as a pixel nor as padding."""

    def sides(along: int, across: int) -> tuple[int, int]:
        return (along, across) if axis == 0 else (across, along)

    extent, size, pads = sides(6, 5), sides(4, 5), sides(1, 0)
    step = PoolStep(
        "pool",
        "avg",
        Slice(0, 0, CHANNELS),
        Destination(Slice(1, 0, CHANNELS), False),
        sides(3, 1),
        sides(2, 1),
        pads,
        pads,
        "window",
    )
    buffers = (Buffer("x", *extent, CHANNELS, "input"), Buffer("y", *size, CHANNELS, "output"))
    plan = Plan("float32", buffers, (step,), ((0,),), {}, (Output(1, False),), 0)
    x = torch.randint(-9, 10, (2, CHANNELS, *extent)).float()
    got = get_backend(backend).compile(plan, {}, device=CPU, precision="fp32").run(x)[0]
    torch.testing.assert_close(got.double(), pooled(step, x.double(), size, None), rtol=0, atol=2e-6)


@pytest.mark.parametrize("window", ["whole image", "part"])
def test_long_averages(backend: str, window: str) -> None:
    """One number over and over rounds the same way at each addition of a serial sum."""
    if backend == "torch" and window == "part":
        pytest.skip("PyTorch's own sum over a window is serial")
    extent, kernel = ((200, 200), (200, 200)) if window == "whole image" else ((31, 41), (30, 40))
    size = extent[0] - kernel[0] + 1, extent[1] - kernel[1] + 1
    step = PoolStep("pool", "avg", Slice(0, 0, 4), Destination(Slice(1, 0, 4), False), kernel, (1, 1), (0, 0), (0, 0))
    buffers = (Buffer("x", *extent, 4, "input"), Buffer("y", *size, 4, "output"))
    plan = Plan("float32", buffers, (step,), ((0,),), {}, (Output(1, False),), 0)
    want = torch.tensor([0.1, 0.7, -0.3, 0.9]).view(1, 4, 1, 1).repeat(1, 1, *size)
    x = want[:, :, :1, :1].repeat(1, 1, *extent)
    got = get_backend(backend).compile(plan, {}, device=CPU, precision="fp32").run(x)[0]
    assert ((got.double() - want) / want).abs().max() < 5e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sums_of_half_precision_do_not_overflow(dtype: torch.dtype) -> None:
    step = PoolStep(
        "pool", "avg", Slice(0, 0, 1), Destination(Slice(1, 0, 1), False), (4, 4), (4, 4), (1, 0), (0, 0), "inside"
    )
    buffers = (Buffer("x", 8, 8, 1, "input"), Buffer("y", 2, 2, 1, "output"))
    name = str(dtype).removeprefix("torch.")
    plan = Plan(name, buffers, (step,), ((0,),), {}, (Output(1, False),), 0)
    precision = {"float16": "fp16", "bfloat16": "bf16"}[name]
    executor = get_backend("torch").compile(plan, {}, device=CPU, precision=precision)
    assert torch.equal(
        executor.run(torch.full((1, 1, 8, 8), 3e4, dtype=dtype))[0], torch.full((1, 1, 2, 2), 3e4, dtype=dtype)
    )
