"""How the steps of the ``torch`` backend read and write a Plan's buffers: NCHW tensors in channels_last memory format.

A buffer is None until something is written to it: a result that fills it becomes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate
from operator import itemgetter

import torch

from inception_fast.activation import activate
from inception_fast.plan.plan import Destination, Plan, Slice

Buffers = list[torch.Tensor | None]


def reader(plan: Plan, piece: Slice) -> Callable[[Buffers], torch.Tensor]:
    """A slice of the buffers as a tensor."""
    index, start, channels = piece.buffer, piece.start, piece.channels
    if channels == plan.buffers[index].channels:
        return itemgetter(index)
    return lambda buffers: buffers[index].narrow(1, start, channels)  # type: ignore[union-attr]


def writer(
    plan: Plan, targets: tuple[Destination, ...], constants: Mapping[str, torch.Tensor], fused_relu: bool
) -> Callable[[Buffers, torch.Tensor], None]:
    """Puts a result where it belongs, with the activations that the kernel has not done."""
    writers = [_part_writer(plan, d, constants, fused_relu, alone=len(targets) == 1) for d in targets]
    if len(writers) == 1:
        return writers[0]
    ends = list(accumulate(d.slice.channels for d in targets))
    spans = [(end - d.slice.channels, d.slice.channels) for d, end in zip(targets, ends, strict=True)]

    def write(buffers: Buffers, result: torch.Tensor) -> None:
        for part_writer, (start, channels) in zip(writers, spans, strict=True):
            part_writer(buffers, result.narrow(1, start, channels))

    return write


def _part_writer(
    plan: Plan, target: Destination, constants: Mapping[str, torch.Tensor], fused_relu: bool, alone: bool
) -> Callable[[Buffers, torch.Tensor], None]:
    index, buffer = target.slice.buffer, plan.buffers[target.slice.buffer]
    activation, relu = target.activation, target.relu and not fused_relu

    def become(buffers: Buffers, part: torch.Tensor) -> None:
        if relu:
            part = part.relu_() if alone else part.relu()
        elif activation is not None:
            part = activate(part, activation, constants)
        buffers[index] = part.contiguous(memory_format=torch.channels_last)

    def fill(buffers: Buffers, part: torch.Tensor) -> None:
        if buffers[index] is None:
            whole = part.new_empty((len(part), buffer.height, buffer.width, buffer.channels))
            buffers[index] = whole.permute(0, 3, 1, 2)
        if relu:
            torch.clamp_min(part, 0, out=place(buffers))
        else:
            place(buffers).copy_(part if activation is None else activate(part, activation, constants))

    place = reader(plan, target.slice)
    return become if target.slice.channels == buffer.channels else fill
