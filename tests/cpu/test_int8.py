"""Quantised steps on random shapes: the compiled kernels and the reference against the definition, bit for bit."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from inception_fast.backends.cpu import CpuExecutor
from inception_fast.backends.reference_int8 import QuantizedExecutor
from inception_fast.errors import EngineFileError
from inception_fast.plan.check import MAX_QUANTIZED_BIAS, MAX_QUANTIZED_TERMS, MAX_QUANTIZED_WINDOW
from inception_fast.plan.lower import describe
from inception_fast.plan.memory import align
from inception_fast.plan.plan import (
    Buffer,
    Convolution,
    ConvStep,
    Destination,
    Output,
    Plan,
    PointwiseStep,
    PoolStep,
    ResizeStep,
    Slice,
    Step,
)
from tests.cpu.single_step import convolve, run_guarded, window

SHAPES, PARTS = 1000, 10
Constants = dict[str, torch.Tensor]


class Net:
    """A Plan in the making: an input, one step, and a copy to the caller of what it writes as elements."""

    def __init__(self, rng: random.Random, size: tuple[int, int], channels: int) -> None:
        self.rng, self.arena = rng, 0
        self.buffers: list[Buffer] = []
        self.add("x", size, channels, "input")

    def add(self, name: str, size: tuple[int, int], channels: int, home: str) -> int:
        buffer = Buffer(name, *size, channels, home)  # type: ignore[arg-type]
        if home != "output":
            zero = self.rng.choice([0, 0, 128, 255, self.rng.randrange(256)])
            scale = torch.tensor(self.rng.uniform(0.02, 2)).item()
            buffer = replace(buffer, scale=scale, zero=zero, offset=self.arena if home == "arena" else 0)
            self.arena += align(buffer.size) if home == "arena" else 0
        self.buffers.append(buffer)
        return len(self.buffers) - 1

    def plan(self, step: Step, constants: Constants) -> Plan:
        steps, stages = [step], [(0,)]
        for index, b in list(enumerate(self.buffers)):
            if b.home == "arena":
                copy = self.add(f"{b.name}.output", (b.height, b.width), b.channels, "output")
                whole = Slice(index, 0, b.channels)
                steps.append(PointwiseStep(f"{b.name}.copy", whole, Destination(replace(whole, buffer=copy), False)))
        if len(steps) > 1:
            stages.append(tuple(range(1, len(steps))))
        outputs = tuple(Output(i, False) for i, b in enumerate(self.buffers) if b.home == "output")
        return Plan("uint8", tuple(self.buffers), tuple(steps), tuple(stages), describe(constants), outputs, self.arena)


def elements(x: torch.Tensor, b: Buffer) -> torch.Tensor:
    """``q - zero`` of numbers, float64."""
    return ((x / torch.tensor(b.scale)).clamp(-b.zero, 255 - b.zero)).round().double()


def conv_net(rng: random.Random) -> tuple[Plan, Constants, ConvStep]:
    size = rng.randint(1, 12), rng.randint(1, 12)
    taps = rng.choice([((0, 0),), window(3, 3), window(1, 7), window(5, 5), tuple(rng.sample(window(5, 5), 4))])
    stride = rng.choice([(1, 1), (1, 1), (2, 2), (1, 3)])
    out_size = tuple(max(1, -(-extent // step)) for extent, step in zip(size, stride, strict=True))
    channels, start = rng.choice([1, 2, 3, 4, 7, 16, 33, 65, 130]), rng.choice([0, 0, 1, 5, 16])
    counts = [rng.choice([1, 2, 5, 8, 16, 17, 31, 32, 33, 50, 80]) for _ in range(rng.choice([1, 1, 2, 3]))]
    out_channels, residual = sum(counts), None
    width = start + channels + rng.choice([0, 1])
    if out_size == size and rng.random() < 0.5:
        residual = Slice(0, rng.choice([0, 3]), out_channels)
        width = max(width, residual.start + out_channels)
    net = Net(rng, size, width)
    members = [[i for i in range(len(counts)) if i % 2 == side] for side in (0, 1)]
    places: dict[int, Slice] = {}
    for side, group in enumerate(members):
        if group:
            total = sum(counts[i] for i in group)
            buffer = net.add(f"y{side}", out_size, total, rng.choice(["arena", "output"]))  # type: ignore[arg-type]
            at = 0
            for i in group:
                places[i] = Slice(buffer, at, counts[i])
                at += counts[i]
    constants = {
        "w": torch.randint(-127, 128, (out_channels, len(taps), channels), dtype=torch.int8),
        # Now and then results that no 32-bit integer holds.
        "s": (torch.rand(out_channels) * 2e-4 + 1e-5) * rng.choice([1, 1, 1, 1e9]),
    }
    bias = rng.choice([None, "b"])
    if bias:
        constants["b"] = torch.randint(-30000, 30000, (out_channels,), dtype=torch.int32)
    conv = Convolution("w", bias, channels, out_channels, taps, stride, "s")
    destinations = tuple(Destination(places[i], rng.random() < 0.5) for i in range(len(counts)))
    step = ConvStep("conv", Slice(0, start, channels), conv, destinations, residual)
    return net.plan(step, constants), constants, step


def expected_conv(plan: Plan, constants: Constants, step: ConvStep, x: torch.Tensor) -> list[torch.Tensor]:
    """The outputs by the definition, NCHW."""
    source, first = plan.buffers[0], plan.buffers[step.destinations[0].slice.buffer]
    q = elements(x, source)
    inside = q[:, step.source.start : step.source.start + step.source.channels]
    conv = step.conv
    total = convolve(inside, constants["w"].double(), conv.taps, conv.stride, (first.height, first.width), 8)
    total += constants["b"].double().view(-1, 1, 1) if conv.bias else 0
    written = {i: x.new_empty(len(x), b.channels, b.height, b.width) for i, b in enumerate(plan.buffers)}
    at = 0
    for d in step.destinations:
        target, end = plan.buffers[d.slice.buffer], at + d.slice.channels
        unit = torch.tensor(1.0 if target.scale is None else target.scale)
        value = total[:, at:end].float() * (constants["s"] * torch.tensor(source.scale) / unit)[at:end].view(-1, 1, 1)
        if step.residual:
            other = q[:, step.residual.start + at : step.residual.start + end]
            value = value + other.float() * (torch.tensor(source.scale) / unit)
        if target.scale is not None:
            value = value.clamp(0 if d.relu else -target.zero, 255 - target.zero).round() * unit
        elif d.relu:
            value = value.relu()
        written[d.slice.buffer][:, d.slice.start : d.slice.start + d.slice.channels] = value
        at = end
    copies = {s.destination.slice.buffer: s.source.buffer for s in plan.steps if isinstance(s, PointwiseStep)}
    return [written[copies.get(o.buffer, o.buffer)] for o in plan.outputs]


def reference(plan: Plan, constants: Constants, x: torch.Tensor) -> list[torch.Tensor]:
    return QuantizedExecutor(plan, constants, torch.device("cpu")).run(x)


def check(
    plan: Plan, constants: Constants, x: torch.Tensor, isa: str, want: list[torch.Tensor], threads: int = 1
) -> None:
    native = CpuExecutor(plan, constants, isa=isa, threads=threads)._native
    for got, truth in zip(run_guarded(native, plan, x), want, strict=True):
        assert torch.equal(got, truth)


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
    for _ in range(20):
        plan, constants, _ = conv_net(rng)
        b = plan.buffers[0]
        x = torch.randn(5, b.channels, b.height, b.width) * 100 * b.scale
        truth = CpuExecutor(plan, constants, isa=isa, threads=1).run(x)
        for threads in (1, 2, 3):
            executor = CpuExecutor(plan, constants, isa=isa, threads=threads)
            for got, want in zip(executor.run(x), truth, strict=True):
                assert torch.equal(got, want)
            alone = [executor.run(image) for image in x.split(1)]
            for i, want in enumerate(truth):
                assert torch.equal(torch.cat([outputs[i] for outputs in alone]), want)


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
