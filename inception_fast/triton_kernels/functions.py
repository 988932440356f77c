"""The functions of :mod:`inception_fast.activation` and the ReLU, in float32, each chosen when a kernel is compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import triton.language as tl

from inception_fast.plan.plan import Destination
from inception_fast.triton_kernels.numerics import device_function, relu

Compiled = tuple[str, float, float]
"""Name, alpha and beta of a Function, as :func:`apply` takes them."""


class Function(NamedTuple):
    """What is applied to channels before they are stored.

    Attributes:
        name: that of an Activation, ``relu`` or ``identity``.
        alpha, beta: as in an Activation.
        slope: of a ``prelu``, ``[C]`` float32.
    """

    name: str
    alpha: float = 0.0
    beta: float = 0.0
    slope: torch.Tensor | None = None

    @property
    def compiled(self) -> Compiled:
        """What a kernel is compiled for."""
        return self.name, self.alpha, self.beta

    @staticmethod
    def of(target: Destination, vectors: Mapping[str, torch.Tensor] | None = None) -> Function:
        """A destination's; a slope is one of ``vectors``, float32 on the device."""
        if target.activation is None:
            return RELU if target.relu else IDENTITY
        name, a = target.activation.slope, target.activation
        return Function(a.function, a.alpha, a.beta, None if name is None else (vectors or {})[name])


IDENTITY = Function("identity")
RELU = Function("relu")


def numbered(functions: Sequence[Function]) -> tuple[tuple[str | float, ...], list[int]]:
    """The different functions, name, alpha and beta of one behind the other, and the number of each among them, from 1
    on; 0 for the identity. Triton 3.6 takes no tuples in tuples.
    """
    distinct = tuple(dict.fromkeys(f.compiled for f in functions if f.name != "identity"))
    flat = tuple(part for compiled in distinct for part in compiled)
    return flat, [0 if f.name == "identity" else 1 + distinct.index(f.compiled) for f in functions]


@device_function
def sigmoid(x):
    small = tl.exp(-tl.abs(x))
    return tl.where(x < 0.0, small, 1.0) / (1.0 + small)


@device_function
def tanh(x):
    """By its series near zero, where the difference of exponentials would be one of equal numbers."""
    size = tl.abs(x)
    small = tl.exp(-2.0 * size)
    far = (1.0 - small) / (1.0 + small)
    square = tl.minimum(x * x, 1.0)
    near = x + x * square * (-1 / 3 + square * (2 / 15 + square * (-17 / 315 + square * (62 / 2835))))
    return tl.where(size < 0.3, near, tl.where(x < 0.0, -far, far))


@device_function
def hardsigmoid(x):
    return at_most(at_least(x + 3.0, 0.0), 6.0) / 6.0


@device_function
def at_least(x, bound):
    """``max(x, bound)``; a NaN stays one."""
    return tl.maximum(x, bound, propagate_nan=tl.PropagateNan.ALL)


@device_function
def at_most(x, bound):
    """``min(x, bound)``; a NaN stays one."""
    return tl.minimum(x, bound, propagate_nan=tl.PropagateNan.ALL)


@device_function
def power(x, EXPONENT: tl.constexpr):
    """``x ** EXPONENT``, NaN for a negative number and an exponent that is not whole.

    By logarithms a digit is lost for every three or so of the result's exponent.
    """
    if EXPONENT == 0.0:
        return tl.full(x.shape, 1.0, tl.float32)
    if EXPONENT == 0.5:
        return tl.sqrt(x)
    if EXPONENT == 1.0:
        return x
    if EXPONENT == 2.0:
        return x * x
    if EXPONENT == 3.0:
        return x * x * x
    size = tl.exp2(EXPONENT * tl.log2(tl.abs(x)))
    if EXPONENT % 2.0 == 0.0:
        return size
    if EXPONENT % 2.0 == 1.0:
        return tl.where(x < 0.0, -size, size)
    return tl.where((x < 0.0) & (x > float("-inf")), float("nan"), size)


@device_function
def apply(x, slope, FUNCTIONS: tl.constexpr, AT: tl.constexpr):
    """The function of ``x``, float32.

    Args:
        slope: for ``prelu``, broadcast to ``x``.
        FUNCTIONS, AT: where name, alpha and beta of it begin.
    """
    ALPHA: tl.constexpr = FUNCTIONS[AT + 1]
    BETA: tl.constexpr = FUNCTIONS[AT + 2]
    if FUNCTIONS[AT] == "relu":
        return relu(x)
    if FUNCTIONS[AT] == "sigmoid":
        return sigmoid(x)
    if FUNCTIONS[AT] == "tanh":
        return tanh(x)
    if FUNCTIONS[AT] == "silu":
        return x * sigmoid(x)
    if FUNCTIONS[AT] == "gelu":
        return 0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))
    if FUNCTIONS[AT] == "gelu_tanh":
        return 0.5 * x * (1.0 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))
    if FUNCTIONS[AT] == "hardsigmoid":
        return hardsigmoid(x)
    if FUNCTIONS[AT] == "hardswish":
        return x * hardsigmoid(x)
    if FUNCTIONS[AT] == "elu":
        # exp(x) - 1 by the hyperbolic tangent, which has all its digits near zero.
        half = tanh(0.5 * at_most(x, 0.0))
        return tl.where(x > 0.0, x, ALPHA * (2.0 * half / (1.0 - half)))
    if FUNCTIONS[AT] == "leaky_relu":
        return tl.where(x > 0.0, x, ALPHA * x)
    if FUNCTIONS[AT] == "prelu":
        return tl.where(x > 0.0, x, slope * x)
    if FUNCTIONS[AT] == "clamp":
        return at_most(at_least(x, ALPHA), BETA)
    if FUNCTIONS[AT] == "clamp_min":
        return at_least(x, ALPHA)
    if FUNCTIONS[AT] == "clamp_max":
        return at_most(x, BETA)
    if FUNCTIONS[AT] == "power":
        return power(x, ALPHA)
    return x
