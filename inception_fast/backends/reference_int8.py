"""Quantised Plans on the ``reference`` backend: ``docs/int8.md`` in PyTorch, one operation a line.

Sums of integers are exact (float64 holds them); what follows a sum is float32, each operation rounded by itself, so
that kernels which keep to the same order give the same bits. Memory holds the elements ``q`` as float32 numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from inception_fast.backends.memory import Memory
from inception_fast.backends.reference import ReferenceExecutor, dense_window, padded, per_channel, pooled
from inception_fast.plan.plan import (
    Buffer,
    Convolution,
    ConvStep,
    Destination,
    Plan,
    PoolStep,
    Slice,
    Step,
    destinations_of,
)
from inception_fast.plan.winograd import WinogradTaps, winograd_taps


class QuantizedExecutor(ReferenceExecutor):
    """Runs a ``uint8`` Plan one step after the other."""

    def __init__(
        self, plan: Plan, constants: Mapping[str, torch.Tensor], device: torch.device, batch_invariant: bool = False
    ) -> None:
        super().__init__(plan, {}, device, batch_invariant)
        exact = {"int8": torch.float64, "int32": torch.float64}
        self._constants = {
            name: value.to(device, exact.get(plan.constants[name].dtype, torch.float32))
            for name, value in constants.items()
        }

    def _run_step(self, step: Step, memory: Memory) -> None:
        match step:
            case ConvStep():
                self._run_conv(step, memory)
            case PoolStep(adaptive=False):
                self._run_pool(step, memory)
            case _:
                # Everything else is arithmetic on what the elements stand for.
                (target,) = destinations_of(step)
                buffer = self._plan.buffers[target.slice.buffer]
                result = self._activate(self._compute(step, memory), target)
                self._store(memory, target, result / _unit(buffer))

    def _run_conv(self, step: ConvStep, memory: Memory) -> None:
        source = self._plan.buffers[step.source.buffer]
        first = self._plan.buffers[step.destinations[0].slice.buffer]
        total = self._sums(self._elements(memory, step.source), step.conv, (first.height, first.width)).float()
        assert step.conv.scale is not None
        scale = self._constants[step.conv.scale] * _unit(source)
        start = 0
        for d in step.destinations:
            channels = slice(start, start + d.slice.channels)
            unit = _unit(self._plan.buffers[d.slice.buffer])
            result = total[:, channels] * per_channel(scale[channels] / unit)
            if step.residual is not None:
                ratio = _unit(self._plan.buffers[step.residual.buffer]) / unit
                result = result + self._elements(memory, step.residual)[:, channels].float() * ratio
            self._store(memory, d, result)
            start += d.slice.channels

    def _sums(self, x: torch.Tensor, conv: Convolution, size: tuple[int, int]) -> torch.Tensor:
        taps = None if conv.winograd is None else winograd_taps(conv, conv.winograd)
        if taps is not None:
            return self._twin_sums(x, conv, taps, size)
        bias = None if conv.bias is None else self._constants[conv.bias]
        window, origin = dense_window(conv, self._constants[conv.weight])
        return F.conv2d(padded(x, conv, origin, window.shape[2:], size), window, bias, conv.stride)

    def _twin_sums(self, x: torch.Tensor, conv: Convolution, taps: WinogradTaps, size: tuple[int, int]) -> torch.Tensor:
        across = taps.axis == 1
        height, width = (n + n % 2 if axis == taps.axis else n for axis, n in enumerate(size))
        image = padded(x, conv, taps.first, taps.extent, (height, width))
        weight = self._constants[conv.weight].unflatten(1, (taps.lines, taps.line_weights))
        if not across:
            image = image.transpose(2, 3)
        sums = twin_sums(image, weight.permute(2, 0, 3, 1).unsqueeze(-1), taps.triples)
        result = (sums if across else sums.transpose(2, 3))[:, :, : size[0], : size[1]]
        return result if conv.bias is None else result + per_channel(self._constants[conv.bias])

    def _run_pool(self, step: PoolStep, memory: Memory) -> None:
        source, target = (self._plan.buffers[i] for i in (step.source.buffer, step.destination.slice.buffer))
        total, count = pooled(self._elements(memory, step.source), step, (target.height, target.width))
        ratio = _unit(source) / _unit(target)
        result = total.float() * (ratio if count is None else ratio * (1 / count.float()))
        if step.bias is not None:
            result = result + per_channel(self._constants[step.bias] / _unit(target))
        self._store(memory, step.destination, result)

    def _elements(self, memory: Memory, piece: Slice) -> torch.Tensor:
        """``q - zero``, float64."""
        buffer = self._plan.buffers[piece.buffer]
        stored = memory.nchw(piece)
        if buffer.home == "input" and buffer.dtype is None:
            stored = rounded(stored / _unit(buffer), buffer.zero, relu=False)
        return stored.double() - buffer.zero

    def _read(self, memory: Memory, piece: Slice) -> torch.Tensor:
        return self._elements(memory, piece).float() * _unit(self._plan.buffers[piece.buffer])

    def _store(self, memory: Memory, destination: Destination, result: torch.Tensor) -> None:
        """Writes ``result``, in units of the destination's scale."""
        buffer = self._plan.buffers[destination.slice.buffer]
        if buffer.home == "output":
            result = result.relu() if destination.relu else result
        else:
            result = rounded(result, buffer.zero, destination.relu)
        memory.nchw(destination.slice).copy_(result)


def twin_sums(x: torch.Tensor, weight: torch.Tensor, triples: int) -> torch.Tensor:
    """Convolution along the last axis by F(2, 3) on halves.

    Args:
        x: ``[N, C_in, H, W]`` whole numbers ``q - zero``, W even once the taps but one are taken off.
        weight: ``[line weights, C_out, C_in, lines, 1]``.
    """
    singles = len(weight) - 4 * triples
    outputs = x.shape[3] - (3 * triples + singles - 1)
    even = odd = torch.zeros((), dtype=x.dtype, device=x.device)
    for i in range(triples):
        d0, d1, d2, d3 = (x[..., 3 * i + j :][..., : outputs - 1 : 2] for j in range(4))
        u = weight[4 * i :]
        shared = F.conv2d(((d1 + d2) / 2).ceil(), u[1])
        turned = F.conv2d(((d2 - d1) / 2).floor(), u[2])
        even = even + shared + turned + F.conv2d(((d0 - d2) / 2).floor(), u[0])
        odd = odd + shared - turned + F.conv2d(((d3 - d1) / 2).floor(), u[3])
    for i in range(singles):
        d0, d1 = (x[..., 3 * triples + i + j :][..., : outputs - 1 : 2] for j in range(2))
        even, odd = even + F.conv2d(d0, weight[4 * triples + i]), odd + F.conv2d(d1, weight[4 * triples + i])
    return torch.stack([even, odd], dim=-1).flatten(-2)


def rounded(x: torch.Tensor, zero: int, relu: bool) -> torch.Tensor:
    """Elements ``q`` for ``x`` in units of their scale: clamped, then rounded to the nearest, ties to even.

    NaN, which an element cannot hold, becomes the smallest.
    """
    least, most = (0 if relu else -zero), 255 - zero
    return x.nan_to_num(nan=least).clamp(least, most).round() + zero


def _unit(buffer: Buffer) -> torch.Tensor:
    """What an element stands for, float32; 1 for an output, which holds numbers."""
    return torch.tensor(1.0 if buffer.scale is None else buffer.scale, dtype=torch.float32, device="cpu")
