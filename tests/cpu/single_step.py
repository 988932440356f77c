"""Plans around one convolution, and a reference that shares nothing with the kernels.

The convolution reads a slice of the input, or of an inner copy of it, and writes slices of output buffers. An earlier
stage has filled the channels between them with MARKER, so that a write beside a slice shows.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import torch

from inception_fast.backends.cpu import native
from inception_fast.plan.plan import (
    ALIGNMENT,
    Buffer,
    Constant,
    Convolution,
    ConvStep,
    Destination,
    Output,
    Plan,
    PointwiseStep,
    Slice,
    Step,
)
from inception_fast.plan.serialize import plan_to_json

Pair = tuple[int, int]
MARKER = 96.0
GUARD = 256
"""Elements around each output that must keep their NaN."""


@dataclass(frozen=True)
class Target:
    """A destination: channels ``[start, start + channels)`` of output buffer ``buffer``."""

    buffer: int
    start: int
    channels: int
    relu: bool


@dataclass(frozen=True)
class Problem:
    """One convolution step, and where in larger buffers its operands lie.

    Attributes:
        source_start, source_channels: the slice's first channel, and the channels of the buffer that it is in.
        inner: the source is an NHWC buffer of the arena, not the caller's input.
        widths: channels of each output buffer.
        residual_start: first channel of the residual in its buffer, or None for no residual.
    """

    taps: tuple[Pair, ...]
    stride: Pair
    in_channels: int
    source_size: Pair
    source_start: int
    source_channels: int
    inner: bool
    size: Pair
    targets: tuple[Target, ...]
    widths: tuple[int, ...]
    bias: bool
    residual_start: int | None
    batch: int

    @property
    def out_channels(self) -> int:
        return sum(t.channels for t in self.targets)


def window(height: int, width: int) -> tuple[Pair, ...]:
    """The taps of a ``height x width`` kernel with "same" padding."""
    return tuple((y - height // 2, x - width // 2) for y in range(height) for x in range(width))


def random_problem(rng: random.Random, taps: tuple[Pair, ...] | None = None, stride: Pair | None = None) -> Problem:
    """Odd sizes and every kind of slice; by default any taps, and any stride up to 3."""
    if taps is None:
        some = rng.sample(window(5, 5), rng.choice([1, 2, 3, 9]))
        taps = rng.choice([((0, 0),), window(3, 3), window(1, 7), window(3, 1), tuple(some)])
    stride = stride or rng.choice([(1, 1), (1, 1), (2, 2), (1, 3)])
    source_size = rng.randint(1, 12), rng.randint(1, 12)
    height, width = (
        max(1, -(-extent // step) + rng.choice([0, 0, 0, 1, -1]))
        for extent, step in zip(source_size, stride, strict=True)
    )
    in_channels, source_start = rng.choice([1, 2, 3, 7, 16, 17, 33]), rng.choice([0, 0, 1, 5, 16])
    targets, filled = [], [rng.choice([0, 0, 1, 3, 8, 16, 19]) for _ in range(2)]
    for _ in range(rng.choice([1, 1, 2, 3])):
        buffer, channels = rng.randrange(2), rng.choice([1, 2, 5, 8, 16, 17, 31, 32, 33, 50])
        targets.append(Target(buffer, filled[buffer], channels, rng.random() < 0.5))
        filled[buffer] += channels + rng.choice([0, 1])
    return Problem(
        taps=taps,
        stride=stride,
        in_channels=in_channels,
        source_size=source_size,
        source_start=source_start,
        source_channels=source_start + in_channels + rng.choice([0, 0, 1, 4]),
        inner=rng.random() < 0.7,
        size=(height, width),
        targets=tuple(targets),
        widths=tuple(f + rng.choice([0, 1, 7]) + (f == 0) for f in filled),
        bias=rng.random() < 0.7,
        residual_start=rng.choice([None, None, 0, 2]),
        batch=rng.choice([1, 1, 2, 3]),
    )


def gaps(problem: Problem) -> list[Slice]:
    """The channels of output buffers 0, 1, ... that no target covers."""
    found = []
    for index, width in enumerate(problem.widths):
        at = 0
        for start, channels in sorted((t.start, t.channels) for t in problem.targets if t.buffer == index):
            found.append(Slice(index, at, start - at))
            at = start + channels
        found.append(Slice(index, at, width - at))
    return [g for g in found if g.channels]


class _Builder:
    """Buffers, steps and constants of a Problem's Plan. Inputs come first, then the outputs, then the arena."""

    def __init__(self, problem: Problem, dtype: str) -> None:
        self.problem, self.dtype, self.arena = problem, dtype, 0
        self.buffers = [Buffer("x", *problem.source_size, problem.source_channels, "input")]
        self.buffers += [Buffer(f"y{i}", *problem.size, w, "output") for i, w in enumerate(problem.widths)]
        self.constants: dict[str, Constant] = {}
        self.stages: list[list[Step]] = [[], []]

    def inner(self, name: str, size: Pair, channels: int) -> int:
        self.buffers.append(Buffer(name, *size, channels, "arena", self.arena))
        self.arena += -(-self.buffers[-1].size // ALIGNMENT) * ALIGNMENT
        return len(self.buffers) - 1

    def conv(
        self, name: str, in_channels: int, out: int, taps: tuple[Pair, ...], stride: Pair, bias: bool
    ) -> Convolution:
        self.constants[f"{name}.w"] = Constant((out, len(taps), in_channels), self.dtype)
        if bias:
            self.constants[f"{name}.b"] = Constant((out,), "float32")
        return Convolution(f"{name}.w", f"{name}.b" if bias else None, in_channels, out, taps, stride)

    def plan(self) -> Plan:
        p = self.problem
        everything = Slice(0, 0, p.source_channels)
        source, residual = Slice(0, p.source_start, p.in_channels), None
        if p.inner:
            copy = self.inner("copy", p.source_size, p.source_channels)
            self.stages[0].append(
                PointwiseStep("copy", everything, Destination(Slice(copy, 0, p.source_channels), False))
            )
            source = replace(source, buffer=copy)
        if p.residual_start is not None:
            width = p.residual_start + p.out_channels + 1
            whole = Slice(self.inner("residual", p.size, width), 0, width)
            conv = self.conv("residual", p.source_channels, width, ((0, 0),), (1, 1), bias=False)
            self.stages[0].append(ConvStep("residual", everything, conv, (Destination(whole, False),)))
            residual = Slice(whole.buffer, p.residual_start, p.out_channels)
        for i, gap in enumerate(gaps(p)):
            conv = self.conv(f"gap{i}", p.source_channels, gap.channels, ((0, 0),), (1, 1), bias=True)
            place = Destination(replace(gap, buffer=gap.buffer + 1), False)
            self.stages[0].append(ConvStep(f"gap{i}", everything, conv, (place,)))
        conv = self.conv("tested", p.in_channels, p.out_channels, p.taps, p.stride, p.bias)
        targets = tuple(Destination(Slice(t.buffer + 1, t.start, t.channels), t.relu) for t in p.targets)
        self.stages[1].append(ConvStep("tested", source, conv, targets, residual))
        steps = tuple(s for stage in self.stages for s in stage)
        first = len(self.stages[0])
        stages = tuple(s for s in (tuple(range(first)), (first,)) if s)
        outputs = tuple(Output(i + 1, False) for i in range(len(p.widths)))
        return Plan(self.dtype, tuple(self.buffers), steps, stages, self.constants, outputs, self.arena)


def plan_of(problem: Problem, dtype: str = "float32") -> Plan:
    return _Builder(problem, dtype).plan()


def values_of(problem: Problem, plan: Plan, integers: bool) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """An NCHW input and the constants, float64: small integers, of which every sum is exact, or normal numbers."""

    def draw(*shape: int) -> torch.Tensor:
        return torch.randint(-3, 4, shape).double() if integers else torch.randn(*shape, dtype=torch.float64)

    constants = {name: draw(*constant.shape) for name, constant in plan.constants.items()}
    for name, value in constants.items():
        if name.startswith("gap"):
            value.fill_(MARKER if name.endswith(".b") else 0.0)
    x = draw(problem.batch, problem.source_channels, *problem.source_size)
    return x, constants


def convolve(
    x: torch.Tensor, weight: torch.Tensor, taps: tuple[Pair, ...], stride: Pair, size: Pair, reach: int = 64
) -> torch.Tensor:
    """The definition: ``x`` [N, C, H, W], ``weight`` [O, T, C]; a sum over taps of strided images, with ``reach`` zeros
    around them.
    """
    padded = torch.nn.functional.pad(x, [reach] * 4)
    total = x.new_zeros(x.shape[0], weight.shape[0], *size)
    for t, (dy, dx) in enumerate(taps):
        rows = reach + dy + stride[0] * torch.arange(size[0])
        columns = reach + dx + stride[1] * torch.arange(size[1])
        total += torch.einsum("nchw,oc->nohw", padded[:, :, rows][..., columns], weight[:, t])
    return total


def expected(
    problem: Problem, x: torch.Tensor, constants: dict[str, torch.Tensor], dtype: torch.dtype = torch.float32
) -> list[torch.Tensor]:
    """The output buffers, NCHW, float64; what the Plan stores on the way is rounded to ``dtype``."""
    p = problem
    source = x[:, p.source_start : p.source_start + p.in_channels]
    result = convolve(source, constants["tested.w"], p.taps, p.stride, p.size)
    if p.bias:
        result += constants["tested.b"].view(-1, 1, 1)
    if p.residual_start is not None:
        residual = convolve(x, constants["residual.w"], ((0, 0),), (1, 1), p.size).to(dtype).double()
        result += residual[:, p.residual_start : p.residual_start + p.out_channels]
    outputs = [x.new_full((p.batch, width, *p.size), MARKER) for width in p.widths]
    at = 0
    for t in p.targets:
        part = result[:, at : at + t.channels]
        outputs[t.buffer][:, t.start : t.start + t.channels] = part.relu() if t.relu else part
        at += t.channels
    return outputs


def make_native(
    plan: Plan, constants: dict[str, torch.Tensor], isa: str, threads: int = 1, algorithm: str = ""
) -> object:
    """The compiled executor of a Plan; ``constants`` are converted to the Plan's dtypes."""
    typed = {k: constants[k].to(getattr(torch, c.dtype)).contiguous() for k, c in plan.constants.items()}
    addresses = {k: (v.data_ptr(), v.nbytes) for k, v in typed.items()}
    return native().CpuExecutor(plan_to_json(plan), addresses, isa, threads, algorithm)


def run_guarded(executor: object, plan: Plan, x: torch.Tensor) -> list[torch.Tensor]:
    """The output buffers, NCHW. They lie in memory of NaN, whose surroundings must not change."""
    outer, inner = [], []
    for b in plan.buffers:
        if b.home == "output":
            size = x.shape[0] * b.size
            outer.append(torch.full((size + 2 * GUARD,), float("nan"), dtype=x.dtype))
            inner.append(outer[-1][GUARD : GUARD + size].view(x.shape[0], b.height, b.width, b.channels))
    executor.run(x.data_ptr(), x.stride(), x.shape[0], [t.data_ptr() for t in inner])  # type: ignore[attr-defined]
    for t in outer:
        assert t[:GUARD].isnan().all() and t[-GUARD:].isnan().all(), "wrote outside of an output"
    return [t.permute(0, 3, 1, 2) for t in inner]
