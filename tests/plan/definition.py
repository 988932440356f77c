"""What a Plan is defined to compute, step by step, in float64: the truth for those who run Plans."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from inception_fast.activation import activate
from inception_fast.plan.plan import (
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
from tests.cpu.single_step import Pair, convolve

Constants = Mapping[str, Tensor]
Read = Callable[[Slice], Tensor]


def plan_outputs(plan: Plan, constants: Constants, x: Tensor) -> list[Tensor]:
    """The outputs ``[N, C, H, W]`` of images ``[N, C, H, W]``; what no step writes is NaN."""
    buffers, _ = _run(plan, constants, x)
    return [buffers[output.buffer] for output in plan.outputs]


def step_results(plan: Plan, constants: Constants, x: Tensor) -> dict[str, list[Tensor]]:
    """What each step writes to its destinations, by the step's name."""
    return _run(plan, constants, x)[1]


def _run(plan: Plan, constants: Constants, x: Tensor) -> tuple[list[Tensor], dict[str, list[Tensor]]]:
    exact = {name: value.double() for name, value in constants.items()}
    buffers = [x.new_full((len(x), b.channels, b.height, b.width), torch.nan).double() for b in plan.buffers]
    for buffer, described in zip(buffers, plan.buffers, strict=True):
        if described.home == "input":
            buffer.copy_(x)

    def read(place: Slice) -> Tensor:
        return buffers[place.buffer][:, place.start : place.start + place.channels]

    written = {}
    for step in plan.steps:
        targets = destinations_of(step)
        shape = plan.buffers[targets[0].slice.buffer]
        parts = _result(step, exact, read, (shape.height, shape.width)).split([t.slice.channels for t in targets], 1)
        written[step.name] = [_activated(part, t, exact) for t, part in zip(targets, parts, strict=True)]
        for target, part in zip(targets, written[step.name], strict=True):
            read(target.slice).copy_(part)
    return buffers, written


def _activated(x: Tensor, target: Destination, constants: Constants) -> Tensor:
    if target.activation is not None:
        return activate(x, target.activation, constants)
    return x.relu() if target.relu else x


def _result(step: Step, constants: Constants, read: Read, size: Pair) -> Tensor:
    """Before the destinations' activation."""
    x = read(step.source)
    match step:
        case ConvStep():
            result = _convolved(step.conv, constants, x, size)
        case PairStep():
            middle = _convolved(step.first, constants, x, (step.middle_height, step.middle_width))
            result = _convolved(step.second, constants, middle.relu() if step.first_relu else middle, size)
        case PoolStep():
            return pooled(step, x, size, None if step.bias is None else constants[step.bias])
        case PointwiseStep():
            result = x if step.scale is None else x * constants[step.scale].view(-1, 1, 1)
            result = result if step.shift is None else result + constants[step.shift].view(-1, 1, 1)
            return result if step.other is None else result + read(step.other)
        case PadStep():
            result = x if step.scale is None else x * constants[step.scale].view(-1, 1, 1)
            result = result if step.shift is None else result + constants[step.shift].view(-1, 1, 1)
            whole = result.new_full((*x.shape[:2], *size), step.value)
            (top, left), (height, width) = step.padding, x.shape[2:]
            whole[:, :, top : top + height, left : left + width] = result
            return whole
        case ResizeStep():
            return F.interpolate(x, size, mode="bilinear", align_corners=step.align_corners)
        case NormalizeStep():
            return F.normalize(x, dim=1, eps=step.eps)
        case DepthwiseStep():
            # A convolution whose weights are zero where channels differ.
            weight = torch.diag_embed(constants[step.weight]).transpose(0, 1)
            result = convolve(x, weight, step.taps, step.stride, size)
            return result if step.bias is None else result + constants[step.bias].view(-1, 1, 1)
        case SoftmaxStep():
            return (F.log_softmax if step.log else F.softmax)(x, dim=1)
        case LocalResponseStep():
            return F.local_response_norm(x, step.size, step.alpha, step.beta, step.k)
        case GateStep():
            return x * read(step.gate)
        case _:
            raise TypeError(step)
    return result if step.residual is None else result + read(step.residual)


def _convolved(conv: Convolution, constants: Constants, x: Tensor, size: Pair) -> Tensor:
    result = convolve(x, constants[conv.weight], conv.taps, conv.stride, size)
    return result if conv.bias is None else result + constants[conv.bias].view(-1, 1, 1)


def pooled(step: PoolStep, x: Tensor, size: Pair, bias: Tensor | None) -> Tensor:
    """Window by window, in ``x``'s dtype."""
    result = x.new_empty(*x.shape[:2], *size)
    for y in range(size[0]):
        for column in range(size[1]):
            spans, area = [], 1
            for at, kernel, stride, begin, end, extent, out in zip(
                (y, column), step.kernel, step.stride, step.padding, step.padding_end, x.shape[2:], size, strict=True
            ):
                first = at * stride - begin
                if step.adaptive:
                    first = at * extent // out
                    kernel = -(-(at + 1) * extent // out) - first
                spans.append(slice(max(first, 0), min(first + kernel, extent)))
                area *= min(first + kernel, extent + end) - first
            seen = x[:, :, spans[0], spans[1]]
            if step.mode == "max":
                result[:, :, y, column] = seen.amax((2, 3))
                continue
            count = area if step.divisor == "window" else seen.shape[2] * seen.shape[3]
            result[:, :, y, column] = seen.sum((2, 3)) / count
    return result if bias is None else result + bias.to(x.dtype).view(-1, 1, 1)
