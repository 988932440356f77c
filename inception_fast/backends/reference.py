"""``reference``: the Plan run step by step in plain PyTorch, in any dtype; slow, readable, and what the others are
held against.

Each step reads its slices, computes in the accumulator's dtype (float32, or float64 in a float64 Plan), and writes
its slices rounded once to the Plan's dtype. Memory that no step has written holds NaN, so a read before a write
shows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F

from inception_fast.activation import activate
from inception_fast.backends.base import Availability, Backend, Executor, Out, StepTime, deliver
from inception_fast.backends.memory import Memory
from inception_fast.backends.pieces import run_per_image
from inception_fast.backends.shared import Shared
from inception_fast.backends.stopwatch import Stopwatch
from inception_fast.errors import InputError
from inception_fast.plan.check import accumulator_dtype
from inception_fast.plan.plan import (
    QUANTIZED,
    Convolution,
    ConvStep,
    DepthwiseStep,
    Destination,
    GateStep,
    LocalResponseStep,
    NormalizeStep,
    PadStep,
    PairStep,
    Plan,
    PointwiseStep,
    PoolStep,
    ResizeStep,
    Slice,
    SoftmaxStep,
    Step,
    destinations_of,
)


class ReferenceBackend(Backend):
    """See the module."""

    name = "reference"

    def availability(self) -> Availability:
        return Availability(True)

    def compile(
        self,
        plan: Plan,
        constants: Mapping[str, torch.Tensor],
        *,
        device: torch.device,
        precision: str = "fp32",
        batch_invariant: bool = False,
        shared: Shared | None = None,
    ) -> ReferenceExecutor:
        if plan.dtype == QUANTIZED:
            from inception_fast.backends.reference_int8 import QuantizedExecutor

            return QuantizedExecutor(plan, constants, device, batch_invariant)
        return ReferenceExecutor(plan, constants, device, batch_invariant, shared)

    def precisions(self, device: torch.device) -> tuple[str, ...]:
        return (*super().precisions(device), "int8")


class ReferenceExecutor(Executor):
    """Runs a Plan one step after the other.

    Args:
        batch_invariant: compute image by image; PyTorch's convolutions order their sums by batch size.
    """

    def __init__(
        self,
        plan: Plan,
        constants: Mapping[str, torch.Tensor],
        device: torch.device,
        batch_invariant: bool = False,
        shared: Shared | None = None,
    ) -> None:
        self._plan, self._batch_invariant = plan, batch_invariant
        accumulator, shared = getattr(torch, accumulator_dtype(plan.dtype)), shared or Shared()
        self._constants = {
            k: shared.of([v], (device, accumulator), partial(v.to, device, accumulator)) for k, v in constants.items()
        }
        # Those that need no conversion are the caller's own.
        self._converted = [t for k, t in self._constants.items() if t is not constants[k]]

    @property
    def packed(self) -> Mapping[Hashable, int]:
        return {t.data_ptr(): t.nbytes for t in self._converted}

    def run(self, x: torch.Tensor, out: Out | None = None) -> list[torch.Tensor]:
        if self._batch_invariant:
            return deliver(self._plan, run_per_image(lambda image: self._pass(image).outputs(), x), out)
        return self._pass(x, out=out).outputs()

    def run_until(self, x: torch.Tensor, stop_after: str) -> list[torch.Tensor]:
        """What the step named ``stop_after`` wrote, one ``[N, C, H, W]`` a destination, to find where two executors
        part.

        Raises:
            InputError: no step has that name.
        """
        if stop_after not in self._plan.step_names:
            raise InputError("stop_after", repr(stop_after), f"one of {', '.join(self._plan.step_names)}")
        index = self._plan.step_names.index(stop_after)
        memory = self._pass(x, last=index)
        return [memory.nchw(d.slice).clone() for d in destinations_of(self._plan.steps[index])]

    def profile(self, x: torch.Tensor) -> list[StepTime]:
        watch = Stopwatch(x.device)
        self._pass(x, done=watch.lap)
        return watch.times()

    @torch.no_grad()
    def _pass(
        self,
        x: torch.Tensor,
        last: int | None = None,
        done: Callable[[str], None] | None = None,
        out: Out | None = None,
    ) -> Memory:
        memory = Memory(self._plan, x, fill=float("nan"), out=out)
        for step in self._plan.steps if last is None else self._plan.steps[: last + 1]:
            self._run_step(step, memory)
            if done is not None:
                done(step.name)
        return memory

    def _run_step(self, step: Step, memory: Memory) -> None:
        result = self._compute(step, memory)
        start = 0
        for d in destinations_of(step):
            part = result[:, start : start + d.slice.channels]
            memory.nchw(d.slice).copy_(self._activate(part, d))
            start += d.slice.channels

    def _activate(self, x: torch.Tensor, target: Destination) -> torch.Tensor:
        if target.activation is not None:
            return activate(x, target.activation, self._constants)
        return x.relu() if target.relu else x

    def _compute(self, step: Step, memory: Memory) -> torch.Tensor:
        """A step's result before activation, ``[N, C, H, W]`` in the accumulator's dtype."""
        source = self._read(memory, step.source)
        target = self._plan.buffers[destinations_of(step)[0].slice.buffer]
        size = (target.height, target.width)
        match step:
            case ConvStep():
                return self._add(self._convolve(source, step.conv, size), memory, step.residual)
            case PairStep():
                middle = self._convolve(source, step.first, (step.middle_height, step.middle_width))
                if step.first_relu:
                    middle = middle.relu()
                rounded = middle.to(memory[step.source].dtype).to(middle.dtype)
                return self._add(self._convolve(rounded, step.second, size), memory, step.residual)
            case DepthwiseStep():
                # A convolution of one input channel for each output channel, and one group for each of both.
                weight = self._constants[step.weight].t().unsqueeze(2)
                conv = Convolution(step.weight, step.bias, 1, source.shape[1], step.taps, step.stride)
                return self._convolve(source, conv, size, weight, groups=source.shape[1])
            case PoolStep():
                return _pool(source, step, size, self._constants.get(step.bias or ""))
            case PointwiseStep():
                return self._add(self._scaled(source, step), memory, step.other)
            case PadStep():
                return F.pad(self._scaled(source, step), margins(step, source.shape, size), value=step.value)
            case ResizeStep():
                return F.interpolate(source, size, mode="bilinear", align_corners=step.align_corners)
            case NormalizeStep():
                return source / source.norm(dim=1, keepdim=True).clamp_min(step.eps)
            case SoftmaxStep():
                shifted = source - source.amax(dim=1, keepdim=True)
                total = shifted.exp().sum(dim=1, keepdim=True)
                return shifted - total.log() if step.log else shifted.exp() / total
            case LocalResponseStep():
                squares = F.pad(source.square(), (0, 0, 0, 0, step.size // 2, (step.size - 1) // 2))
                mean = squares.unfold(1, step.size, 1).mean(-1)
                return source / (step.k + step.alpha * mean).pow(step.beta)
            case GateStep():
                return source * self._read(memory, step.gate)

    def _scaled(self, x: torch.Tensor, step: PointwiseStep | PadStep) -> torch.Tensor:
        """``x * scale + shift``."""
        if step.scale is not None:
            x = x * per_channel(self._constants[step.scale])
        return x if step.shift is None else x + per_channel(self._constants[step.shift])

    def _read(self, memory: Memory, piece: Slice) -> torch.Tensor:
        return memory.nchw(piece).to(getattr(torch, accumulator_dtype(self._plan.dtype)))

    def _add(self, value: torch.Tensor, memory: Memory, piece: Slice | None) -> torch.Tensor:
        return value if piece is None else value + self._read(memory, piece)

    def _convolve(
        self,
        x: torch.Tensor,
        conv: Convolution,
        size: tuple[int, int],
        weight: torch.Tensor | None = None,
        groups: int = 1,
    ) -> torch.Tensor:
        bias = None if conv.bias is None else self._constants[conv.bias]
        window, origin = dense_window(conv, self._constants[conv.weight] if weight is None else weight)
        image = padded(x, conv, origin, tuple(window.shape[2:]), size)
        return F.conv2d(canonical(image), canonical(window), bias, conv.stride, groups=groups)


def canonical(x: torch.Tensor) -> torch.Tensor:
    """``x`` in contiguous memory, with the strides that its dimensions would have if all were larger than 1.

    PyTorch tells a memory format by strides, and where there is one channel the strides of channels_last are also those
    of a contiguous tensor. oneDNN's convolution is wrong on such a mixture in places (``docs/architecture.md``).
    """
    return x.contiguous().view(-1).view(x.shape)


def dense_window(conv: Convolution, weight: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]]:
    """The taps ``[C_out, T, C_in]`` as a dense kernel ``[C_out, C_in, kh, kw]``, zero between them, and its first
    tap.
    """
    rows, columns = [dy for dy, _ in conv.taps], [dx for _, dx in conv.taps]
    top, left = min(rows), min(columns)
    kernel = weight.new_zeros(conv.out_channels, conv.in_channels, max(rows) - top + 1, max(columns) - left + 1)
    for t, (dy, dx) in enumerate(conv.taps):
        kernel[:, :, dy - top, dx - left] = weight[:, t]
    return kernel, (top, left)


def window_padding(
    conv: Convolution, origin: tuple[int, int], kernel: tuple[int, ...], source: tuple[int, ...], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) zeros that make an unpadded convolution give ``size``; negative ones crop."""
    last = [(size[i] - 1) * conv.stride[i] + origin[i] + kernel[i] for i in (0, 1)]
    return -origin[0], -origin[1], last[0] - source[0], last[1] - source[1]


def padded(
    x: torch.Tensor, conv: Convolution, origin: tuple[int, int], kernel: tuple[int, ...], size: tuple[int, int]
) -> torch.Tensor:
    """``x`` with the zeros that :func:`window_padding` asks for."""
    top, left, bottom, right = window_padding(conv, origin, kernel, tuple(x.shape[2:]), size)
    pads = (left, right, top, bottom)
    grown = F.pad(x, [max(p, 0) for p in pads])
    # Cropped last: a window may lie wholly outside the image.
    return F.pad(grown, [min(p, 0) for p in pads]) if min(pads) < 0 else grown


def margins(step: PadStep, source: Sequence[int], size: tuple[int, int]) -> list[int]:
    """What :func:`torch.nn.functional.pad` puts around a source ``[N, C, H, W]``."""
    (top, left), (height, width) = step.padding, source[2:]
    return [left, size[1] - left - width, top, size[0] - top - height]


def per_channel(vector: torch.Tensor) -> torch.Tensor:
    return vector.view(-1, 1, 1)


def _pool(x: torch.Tensor, step: PoolStep, size: tuple[int, int], bias: torch.Tensor | None) -> torch.Tensor:
    if step.adaptive:
        return (F.adaptive_max_pool2d if step.mode == "max" else F.adaptive_avg_pool2d)(x, size)
    total, count = pooled(x, step, size)
    mean = total if count is None else total / count
    return mean if bias is None else mean + per_channel(bias)


def pooled(x: torch.Tensor, step: PoolStep, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Maxima, or sums and the number that divides each; by unfolding, with pixels outside the image minus infinity for
    the maximum and zero for the sum.
    """
    _, _, height, width = x.shape
    pads: list[int] = []
    for axis, extent in ((1, width), (0, height)):
        reach = (size[axis] - 1) * step.stride[axis] + step.kernel[axis] - step.padding[axis]
        pads += [step.padding[axis], max(0, reach - extent)]
    outside = float("-inf") if step.mode == "max" else 0.0
    windows = _windows(F.pad(x, pads, value=outside), step, size)
    if step.mode == "max":
        return windows.amax(dim=(-2, -1)), None
    count = x.new_ones(1, 1, height, width)
    if step.divisor == "window":
        (top, left), (bottom, right) = step.padding, step.padding_end
        grown = F.pad(count, (left, right, top, bottom), value=1.0)
        count = F.pad(grown, (0, max(0, pads[1] - right), 0, max(0, pads[3] - bottom)))
    else:
        count = F.pad(count, pads)
    return windows.sum(dim=(-2, -1)), _windows(count, step, size).sum(dim=(-2, -1))


def _windows(x: torch.Tensor, step: PoolStep, size: tuple[int, int]) -> torch.Tensor:
    """``[N, C, *size, kh, kw]``."""
    unfolded = x.unfold(2, step.kernel[0], step.stride[0]).unfold(3, step.kernel[1], step.stride[1])
    return unfolded[:, :, : size[0], : size[1]]
