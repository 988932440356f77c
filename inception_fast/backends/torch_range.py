"""Bounds of what a Plan computes, for kernels that lose a NaN.

oneDNN's fused ReLU makes zero of NaN. Where every number is finite and every sum stays within its format, there is no
NaN; so the ``torch`` backend bounds every sum by the magnitude of what goes in and the L1 norm of its weights, looks at
an activation where that bound is too loose, and takes kernels without the fusion where it still cannot tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, log

import torch

from inception_fast.activation import Activation
from inception_fast.plan.plan import (
    Convolution,
    ConvStep,
    DepthwiseStep,
    GateStep,
    LocalResponseStep,
    NormalizeStep,
    PadStep,
    PairStep,
    Plan,
    PointwiseStep,
    Slice,
    SoftmaxStep,
    Step,
    destinations_of,
    sources_of,
)

SLACK = 1.01
"""For the rounding of the sums themselves."""
MOST_POOLED = 1 << 20
"""Pixels that an average may sum in float32 before it divides."""


class OutOfRangeError(Exception):
    """A sum may leave the range of its format."""


@dataclass(frozen=True)
class _Growth:
    """``|result| <= gain * |source| + offset + |other|``, ``other`` being the second operand where there is one.

    Attributes:
        targets: buffer, activation, and its largest slope.
        multiplies: ``|result| <= |source| * |other|`` in place of that.
    """

    source: Slice
    other: Slice | None
    targets: tuple[tuple[int, Activation | None, float], ...]
    gain: float
    offset: float
    multiplies: bool

    @property
    def operands(self) -> tuple[Slice, ...]:
        return (self.source,) if self.other is None else (self.source, self.other)

    def bound(self, magnitudes: list[float]) -> float:
        """Of the result, where the operands are that large."""
        first, *second = magnitudes
        if self.multiplies:
            return SLACK * first * second[0]
        return SLACK * (self.gain * first + self.offset + sum(second))


def magnitude(x: torch.Tensor) -> float:
    """The largest absolute value; infinite where there is a NaN."""
    low, high = torch.aminmax(x)
    largest = max(-low.item(), high.item())
    return largest if largest == largest else inf


class Bounds:
    """The bounds of a Plan's buffers in one pass, followed step by step by :meth:`step`.

    Args:
        growths: of :func:`growths`.
        limit: below which a sum is safe.
    """

    def __init__(self, growths: list[_Growth], limit: float, buffers: int, x: torch.Tensor, source: int) -> None:
        self._growths, self._limit = growths, limit
        self._largest = [0.0] * buffers
        self._largest[source] = magnitude(x)

    def step(self, index: int, buffers: list[torch.Tensor | None]) -> None:
        """Before step ``index``: whether its sums stay in range.

        Raises:
            OutOfRangeError: they may not.
        """
        growth, largest = self._growths[index], self._largest
        known = [largest[operand.buffer] for operand in growth.operands]
        bound = growth.bound(known)
        if not bound < self._limit:
            # Of the slices that are read: nobody need have written the others yet.
            bound = growth.bound([self._look(operand, buffers) for operand in growth.operands])
            if not bound < self._limit:
                raise OutOfRangeError
        for target, activation, slope in growth.targets:
            largest[target] = max(largest[target], _after(activation, bound, slope))

    def join(self, other: Bounds) -> None:
        """Takes in the bounds of another part of the batch."""
        self._largest = list(map(max, self._largest, other._largest))

    def _look(self, operand: Slice, buffers: list[torch.Tensor | None]) -> float:
        tensor = buffers[operand.buffer]
        assert tensor is not None
        found = magnitude(tensor.narrow(1, operand.start, operand.channels))
        if operand.channels == tensor.shape[1]:
            self._largest[operand.buffer] = found
        return found


def safe_limit(dtype: torch.dtype) -> float:
    """Below which nothing overflows: neither a result in ``dtype`` nor the float32 sum that it comes from."""
    return min(torch.finfo(dtype).max / 4, torch.finfo(torch.float32).max / MOST_POOLED)


def growths(plan: Plan, constants: Mapping[str, torch.Tensor]) -> list[_Growth]:
    """How much each step of a Plan can make of its operands."""
    return [_growth(step, constants) for step in plan.steps]


def _growth(step: Step, constants: Mapping[str, torch.Tensor]) -> _Growth:
    operands = sources_of(step)
    targets = tuple((d.slice.buffer, d.activation, _slope(d.activation, constants)) for d in destinations_of(step))
    gain, offset = 1.0, 0.0
    match step:
        case ConvStep():
            gain, offset = _affine(step.conv, constants)
        case PairStep():
            (first, start), (second, end) = _affine(step.first, constants), _affine(step.second, constants)
            # The intermediate itself must be in range too.
            gain, offset = max(first, first * second), start + second * start + end
        case DepthwiseStep():
            gain, offset = _sums(constants[step.weight], 0), _offset(step.bias, constants)
        case PointwiseStep():
            gain = 1.0 if step.scale is None else max(1.0, magnitude(constants[step.scale]))
            offset = _offset(step.shift, constants)
        case PadStep():
            gain = 1.0 if step.scale is None else max(1.0, magnitude(constants[step.scale]))
            offset = max(_offset(step.shift, constants), abs(step.value))
        case NormalizeStep() | SoftmaxStep(log=False):
            gain, offset = 0.0, 1.0
        case SoftmaxStep():
            gain, offset = 2.0, log(step.source.channels)
        case LocalResponseStep():
            # The divisor is no less than k ** beta.
            gain = max(1.0, step.k**-step.beta) if min(step.alpha, step.beta) >= 0 and step.k > 0 else inf
        case _:
            offset = _offset(getattr(step, "bias", None), constants)
    other = operands[1] if len(operands) > 1 else None
    return _Growth(operands[0], other, targets, gain, offset, isinstance(step, GateStep))


def _after(activation: Activation | None, bound: float, slope: float) -> float:
    """Of a function's values, where its arguments are no larger than ``bound``; infinite where some are NaN."""
    if activation is None:
        return bound
    match activation.function:
        case "sigmoid" | "tanh" | "hardsigmoid":
            return 1.0
        case "silu" | "gelu" | "gelu_tanh" | "hardswish":
            return bound
        case "leaky_relu" | "prelu":
            return bound * max(1.0, slope)
        case "elu" | "clamp" | "clamp_min" | "clamp_max":
            return max(bound, abs(activation.alpha), abs(activation.beta))
        case "power":
            return inf


def _slope(activation: Activation | None, constants: Mapping[str, torch.Tensor]) -> float:
    if activation is None or activation.slope is None:
        return 0.0 if activation is None else abs(activation.alpha)
    return magnitude(constants[activation.slope])


def _affine(conv: Convolution, constants: Mapping[str, torch.Tensor]) -> tuple[float, float]:
    return _sums(constants[conv.weight], (1, 2)), _offset(conv.bias, constants)


def _sums(weight: torch.Tensor, dims: int | tuple[int, int]) -> float:
    """The largest sum of absolute weights."""
    gain = weight.double().abs().sum(dims).max().item()
    return gain if gain == gain else inf


def _offset(name: str | None, constants: Mapping[str, torch.Tensor]) -> float:
    return 0.0 if name is None else magnitude(constants[name])
