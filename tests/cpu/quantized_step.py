"""Quantised Plans around one step, and the definition of a convolution that shares nothing with the kernels."""

from __future__ import annotations

import random
from dataclasses import replace

import torch

from inception_fast.backends.reference_int8 import QuantizedExecutor
from inception_fast.lowering.lower import describe
from inception_fast.plan.memory import align
from inception_fast.plan.plan import (
    Buffer,
    Convolution,
    ConvStep,
    Destination,
    Output,
    Plan,
    PointwiseStep,
    Slice,
    Step,
)
from inception_fast.plan.winograd import AXES
from tests.cpu.single_step import convolve, make_native, run_guarded, window

Constants = dict[str, torch.Tensor]
Pair = tuple[int, int]
REACH = 32
"""Zeros around an image, in which taps outside of it end."""


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


def direct_conv(rng: random.Random, size: Pair) -> tuple[Convolution, Pair]:
    """Taps and stride of a direct convolution of an image of ``size``, channels to be set, and its output's size."""
    taps = rng.choice([((0, 0),), window(3, 3), window(1, 7), window(5, 5), tuple(rng.sample(window(5, 5), 4))])
    stride = rng.choice([(1, 1), (1, 1), (2, 2), (1, 3), (7, 9), (1, 40)])
    height, width = (max(1, -(-extent // step)) for extent, step in zip(size, stride, strict=True))
    return Convolution("w", None, 1, 1, taps, stride, "s"), (height, width)


def winograd_conv(rng: random.Random, size: Pair) -> tuple[Convolution, Pair]:
    """The same by F(2, 3): any rectangle three or more long along its axis, anywhere, for an output of any size."""
    extent = rng.choice([(3, 3), (3, 3), (1, 7), (7, 1), (5, 5), (1, 3), (3, 1), (4, 3), (2, 8), (6, 1)])
    axis = rng.choice([axis for axis, length in zip(AXES, extent, strict=True) if length >= 3])
    taps = window(*extent)
    if rng.random() < 0.5:
        down, right = (rng.randint(-9, 9) for _ in extent)
        taps = tuple((y + down, x + right) for y, x in taps)
    other = rng.random() < 0.3
    height, width = (rng.randint(1, 12) if other else n for n in size)
    return Convolution("w", None, 1, 1, taps, (1, 1), "s", axis), (height, width)


def conv_net(rng: random.Random, winograd: bool = False) -> tuple[Plan, Constants, ConvStep]:
    # Wide enough, now and then, for rows that fill a block of every micro-kernel.
    size = rng.randint(1, 12), rng.randint(1, rng.choice([12, 40]))
    conv, out_size = (winograd_conv if winograd else direct_conv)(rng, size)
    channels, start = rng.choice([1, 2, 3, 4, 7, 16, 33, 63, 64, 65, 130]), rng.choice([0, 0, 1, 5, 16])
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
    least, beyond = rng.choice([(-127, 128), (-128, 128), (127, 128), (-128, -127)] if winograd else [(-127, 128)])
    constants = {
        "w": torch.randint(least, beyond, (out_channels, weight_count(conv), channels), dtype=torch.int8),
        # Now and then results that no 32-bit integer holds.
        "s": (torch.rand(out_channels) * 2e-4 + 1e-5) * rng.choice([1, 1, 1, 1e9]),
    }
    bias = rng.choice([None, "b"])
    if bias:
        constants["b"] = torch.randint(-30000, 30000, (out_channels,), dtype=torch.int32)
    conv = replace(conv, bias=bias, in_channels=channels, out_channels=out_channels)
    destinations = tuple(Destination(places[i], rng.random() < 0.5) for i in range(len(counts)))
    step = ConvStep("conv", Slice(0, start, channels), conv, destinations, residual)
    return net.plan(step, constants), constants, step


def lines_of(conv: Convolution) -> Pair:
    """Lines of taps along Winograd's axis, and taps in each."""
    rows, columns = (len({tap[axis] for tap in conv.taps}) for axis in (0, 1))
    return (columns, rows) if conv.winograd == "vertical" else (rows, columns)


def weight_count(conv: Convolution) -> int:
    if conv.winograd is None:
        return len(conv.taps)
    lines, length = lines_of(conv)
    return lines * (4 * (length // 3) + length % 3)


def sums_by_pairs(d: torch.Tensor, weight: torch.Tensor, conv: Convolution, size: Pair) -> torch.Tensor:
    """The definition of F(2, 3) on halves in ``docs/int8.md``, of all pairs of outputs at once; less the bias.

    ``d`` [N, C, H, W] whole numbers ``q - zero``, ``weight`` [O, weights, C]; float64, in which every sum is exact.
    """
    vertical = conv.winograd == "vertical"
    step = (2, 1) if vertical else (1, 2)
    pairs = [-(-n // s) for n, s in zip(size, step, strict=True)]
    sums = d.new_zeros(len(d), len(weight), pairs[0] * step[0], pairs[1] * step[1])
    even, odd = (sums[:, :, parity::2] if vertical else sums[..., parity::2] for parity in (0, 1))
    padded = torch.nn.functional.pad(d, [REACH] * 4).long()

    def pixel(line: int, tap: int) -> torch.Tensor:
        """What lies under a tap of the even outputs."""
        y, x = (tap, line) if vertical else (line, tap)
        rows = REACH + conv.taps[0][0] + y + step[0] * torch.arange(pairs[0])
        columns = REACH + conv.taps[0][1] + x + step[1] * torch.arange(pairs[1])
        return padded[:, :, rows][..., columns]

    # The products of each sum: values [N, C, pairs] and weights [O, C].
    even_terms: list[tuple[torch.Tensor, torch.Tensor]] = []
    odd_terms: list[tuple[torch.Tensor, torch.Tensor]] = []
    (lines, length), weights = lines_of(conv), iter(weight.unbind(1))
    for line in range(lines):
        for tap in range(0, length // 3 * 3, 3):
            d0, d1, d2, d3 = (pixel(line, tap + i) for i in range(4))
            u0, u1, u2, u3 = (next(weights) for _ in range(4))
            # A shift rounds down.
            v0, v1, v2, v3 = (d0 - d2) >> 1, (d1 + d2 + 1) >> 1, (d2 - d1) >> 1, (d3 - d1) >> 1
            even_terms += [(v1, u1), (v2, u2), (v0, u0)]
            odd_terms += [(v1, u1), (-v2, u2), (v3, u3)]
        for tap in range(length // 3 * 3, length):
            u = next(weights)
            even_terms.append((pixel(line, tap), u))
            odd_terms.append((pixel(line, tap + 1), u))
    for target, terms in ((even, even_terms), (odd, odd_terms)):
        values, factors = (torch.cat(side, dim=1).double() for side in zip(*terms, strict=True))
        target += torch.einsum("nchw,oc->nohw", values, factors)
    return sums[:, :, : size[0], : size[1]]


def expected_conv(plan: Plan, constants: Constants, step: ConvStep, x: torch.Tensor) -> list[torch.Tensor]:
    """The outputs by the definition, NCHW."""
    source, first = plan.buffers[0], plan.buffers[step.destinations[0].slice.buffer]
    q = elements(x, source)
    inside = q[:, step.source.start : step.source.start + step.source.channels]
    conv, weight, size = step.conv, constants["w"].double(), (first.height, first.width)
    if conv.winograd is None:
        total = convolve(inside, weight, conv.taps, conv.stride, size, 8)
    else:
        total = sums_by_pairs(inside, weight, conv, size)
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
    for got, truth in zip(run_guarded(make_native(plan, constants, isa, threads), plan, x), want, strict=True):
        assert torch.equal(got, truth)
