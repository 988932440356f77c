"""Quantised steps on random shapes: the compiled kernels and the reference against the definition, bit for bit."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from inception_fast.backends.cpu import CpuExecutor
from inception_fast.errors import EngineFileError
from inception_fast.plan.check import MAX_QUANTIZED_BIAS, MAX_QUANTIZED_TERMS, MAX_QUANTIZED_WINDOW
from inception_fast.plan.plan import (
    Convolution,
    ConvStep,
    Destination,
    Plan,
    PointwiseStep,
    PoolStep,
    ResizeStep,
    Slice,
    Step,
)
from tests.cpu.quantized_step import Constants, Net, check, conv_net, elements, expected_conv, reference
from tests.cpu.single_step import run_guarded

pytestmark = pytest.mark.usefixtures("one_thread")
SHAPES, PARTS = 1000, 10


@pytest.mark.parametrize("part", range(PARTS))
def test_convolutions(isa: str, part: int) -> None:
    rng = random.Random(part)
    torch.manual_seed(part)
    for _ in range(SHAPES // PARTS):
        plan, constants, step = conv_net(rng)
        b = plan.buffers[0]
        # A little past the range on both sides.
        x = (torch.randint(-10, 266, (rng.choice([1, 2]), b.channels, b.height, b.width)) - b.zero) * b.scale
        want = expected_conv(plan, constants, step, x)
        check(plan, constants, x, isa, want, threads=rng.choice([1, 1, 1, 2]))
        if part == 0:
            assert all(torch.equal(a, b) for a, b in zip(reference(plan, constants, x), want, strict=True))


def pool_net(rng: random.Random) -> tuple[Plan, Constants]:
    kernel = rng.choice([(3, 3), (2, 2), (1, 1), (5, 4)])
    stride = rng.choice([(1, 1), (2, 2), (2, 3)])
    padding = (rng.randrange(kernel[0]), rng.randrange(kernel[1]))
    size = tuple(rng.randint(k, 12) for k in kernel)
    out = tuple((s + 2 * p - k) // t + 1 for s, p, k, t in zip(size, padding, kernel, stride, strict=True))
    mode, channels = rng.choice(["max", "avg"]), rng.choice([1, 3, 16, 17, 64, 71])
    net = Net(rng, size, channels + 2)  # type: ignore[arg-type]
    target = net.add("y", out, channels, rng.choice(["arena", "output"]))  # type: ignore[arg-type]
    if net.buffers[target].scale is not None and rng.random() < 0.3:
        net.buffers[target] = replace(net.buffers[target], scale=net.buffers[0].scale, zero=net.buffers[0].zero)
    bias = rng.choice([None, "b"]) if mode == "avg" else None
    constants = {"b": torch.randn(channels)} if bias else {}
    where = Destination(Slice(target, 0, channels), rng.random() < 0.5)
    divisor = rng.choice(["window", "inside"])
    step = PoolStep("pool", mode, Slice(0, 1, channels), where, kernel, stride, padding, padding, divisor, bias)  # type: ignore[arg-type]
    return net.plan(step, constants), constants


def test_pools(isa: str) -> None:
    rng = random.Random(0)
    torch.manual_seed(0)
    for _ in range(200):
        plan, constants = pool_net(rng)
        b = plan.buffers[0]
        x = torch.randn(2, b.channels, b.height, b.width) * b.scale * 100
        check(plan, constants, x, isa, reference(plan, constants, x))


def test_pools_mean_what_they_mean_on_numbers() -> None:
    """The reference's pools, to half a quantum, against PyTorch's on the numbers that the elements stand for."""
    rng = random.Random(1)
    for _ in range(100):
        plan, constants = pool_net(rng)
        step, b = plan.steps[0], plan.buffers[0]
        assert isinstance(step, PoolStep)
        target = plan.buffers[step.destination.slice.buffer]
        x = torch.randn(2, b.channels, b.height, b.width) * b.scale * 50
        source = (elements(x, b) * b.scale)[:, step.source.start : step.source.start + step.source.channels]
        if step.mode == "max":
            edge = [step.padding[1]] * 2 + [step.padding[0]] * 2
            padded = torch.nn.functional.pad(source, edge, value=-torch.inf)
            value = torch.nn.functional.max_pool2d(padded, step.kernel, step.stride)
        else:
            if any(2 * p > k for p, k in zip(step.padding, step.kernel, strict=True)):
                continue
            counted = step.divisor == "window"
            value = torch.nn.functional.avg_pool2d(source, step.kernel, step.stride, step.padding, False, counted)
            value = value + (constants[step.bias].view(-1, 1, 1) if step.bias else 0)
        least = 0.0 if step.destination.relu else -torch.inf
        margin = 1e-4
        if target.scale is not None:
            least = max(least, -target.zero * target.scale)
            value = value.clamp(max=(255 - target.zero) * target.scale)
            margin = 0.501 * target.scale
        (got,) = reference(plan, constants, x)
        assert (got - value.clamp(min=least)).abs().max() <= margin


@pytest.mark.parametrize("kind", ["pointwise", "resize"])
def test_steps_on_numbers(isa: str, kind: str) -> None:
    """Float32 arithmetic between elements: at most one quantum apart."""
    rng = random.Random(2)
    for _ in range(30):
        size, channels = (rng.randint(1, 9), rng.randint(1, 9)), rng.choice([1, 3, 17, 40])
        net = Net(rng, size, channels)
        out = size if kind == "pointwise" else (rng.randint(1, 12), rng.randint(1, 12))
        where = Destination(Slice(net.add("y", out, channels, "arena"), 0, channels), rng.random() < 0.5)
        whole, constants = Slice(0, 0, channels), {}
        step: Step = ResizeStep("step", whole, where, rng.random() < 0.5)
        if kind == "pointwise":
            constants = {"scale": torch.randn(channels), "shift": torch.randn(channels)}
            step = PointwiseStep("step", whole, where, "scale", "shift", rng.choice([None, whole]))
        plan = net.plan(step, constants)
        x = torch.randn(2, channels, *size) * net.buffers[0].scale * 100
        want = reference(plan, constants, x)
        got = run_guarded(CpuExecutor(plan, constants, isa=isa)._native, plan, x)
        for a, b in zip(got, want, strict=True):
            assert (a - b).abs().max() <= 1.001 * plan.buffers[1].scale


def test_threads_and_batches(isa: str) -> None:
    rng = random.Random(3)
    for i in range(30):
        plan, constants, _ = conv_net(rng, winograd=i % 3 == 0)
        b = plan.buffers[0]
        x = torch.randn(5, b.channels, b.height, b.width) * 100 * b.scale
        truth = CpuExecutor(plan, constants, isa=isa, threads=1).run(x)
        for threads in (1, 2, 3):
            executor = CpuExecutor(plan, constants, isa=isa, threads=threads)
            for got, want in zip(executor.run(x), truth, strict=True):
                assert torch.equal(got, want)
            alone = [executor.run(image) for image in x.split(1)]
            for j, want in enumerate(truth):
                assert torch.equal(torch.cat([outputs[j] for outputs in alone]), want)


@pytest.mark.parametrize(("weight", "zero", "bias"), [(-128, 0, -MAX_QUANTIZED_BIAS), (127, 255, MAX_QUANTIZED_BIAS)])
def test_the_largest_sums(isa: str, weight: int, zero: int, bias: int) -> None:
    """Sums as far from zero as the Plan's rules let them be, from pixels of 0 and of 255."""
    net = Net(random.Random(5), (1, 2), MAX_QUANTIZED_TERMS)
    net.buffers[0] = replace(net.buffers[0], scale=1.0, zero=zero)
    y = net.add("y", (1, 2), 1, "output")
    conv = Convolution("w", "b", MAX_QUANTIZED_TERMS, 1, ((0, 0),), (1, 1), "s")
    step = ConvStep("conv", Slice(0, 0, MAX_QUANTIZED_TERMS), conv, (Destination(Slice(y, 0, 1), False),))
    constants = {
        "w": torch.full((1, 1, MAX_QUANTIZED_TERMS), weight, dtype=torch.int8),
        "b": torch.tensor([bias], dtype=torch.int32),
        "s": torch.ones(1),
    }
    plan = net.plan(step, constants)
    x = torch.tensor([0.0, 255.0]).expand(1, MAX_QUANTIZED_TERMS, 1, 2) - zero
    sums = torch.tensor([bias + weight * int(q) * MAX_QUANTIZED_TERMS for q in x[0, 0, 0]], dtype=torch.float64)
    want = [sums.float().view(1, 1, 1, 2)]
    check(plan, constants, x, isa, want)
    assert torch.equal(reference(plan, constants, x)[0], want[0])
    with pytest.raises(EngineFileError, match="constant b: a bias beyond"):
        CpuExecutor(plan, constants | {"b": constants["b"] + (1 if bias > 0 else -1)}, isa=isa)


@pytest.mark.parametrize("zero", [0, 255])
def test_the_longest_averages(isa: str, zero: int) -> None:
    size = 1 << 12, MAX_QUANTIZED_WINDOW >> 12
    net = Net(random.Random(6), size, 1)
    net.buffers[0] = replace(net.buffers[0], scale=1.0, zero=zero)
    y = net.add("y", (1, 1), 1, "output")
    where = Destination(Slice(y, 0, 1), False)
    plan = net.plan(PoolStep("pool", "avg", Slice(0, 0, 1), where, size, (1, 1), (0, 0), (0, 0)), {})
    extreme = 255.0 if zero == 0 else -255.0
    x = torch.full((1, 1, *size), extreme)
    x[0, 0, 7, :3] -= extreme / 255
    sums = torch.tensor(extreme * MAX_QUANTIZED_WINDOW - 3 * extreme / 255, dtype=torch.float64)
    want = [(sums.float() / MAX_QUANTIZED_WINDOW).view(1, 1, 1, 1)]
    check(plan, {}, x, isa, want)
    assert torch.equal(reference(plan, {}, x)[0], want[0])


def test_nan_is_the_smallest_element(isa: str) -> None:
    net = Net(random.Random(4), (2, 2), 3)
    y = net.add("y", (2, 2), 3, "output")
    plan = net.plan(PointwiseStep("copy", Slice(0, 0, 3), Destination(Slice(y, 0, 3), False)), {})
    x = torch.full((1, 3, 2, 2), float("nan"))
    smallest = torch.full_like(x, -plan.buffers[0].zero) * plan.buffers[0].scale
    check(plan, {}, x, isa, [smallest])
    assert torch.equal(reference(plan, {}, x)[0], smallest)
