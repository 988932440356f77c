"""Functions of each element by itself."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from typing import Any

import torch

from inception_fast.activation import Activation, FunctionName
from inception_fast.graph import ir
from inception_fast.graph.aten.local_response import LocalMean
from inception_fast.graph.aten.norm import Norm
from inception_fast.graph.aten.rule import constant, data, require, rule
from inception_fast.graph.builder import Builder, Const, Data, Place, Symbolic


def activate(b: Builder, place: Place, x: Any, activation: Activation) -> Data:
    """The function of every element of ``x``, in its shape."""
    source = data(x)
    numbers = (activation.alpha, activation.beta)
    require(all(abs(n) <= torch.finfo(torch.float32).max for n in numbers), f"{numbers} are no float32 numbers")
    return replace(b.emit(ir.Activate(activation), [b.settle(source)], place), shape=source.shape)


# Of the in-place ops only this one gets here, see graph/functional.py.
@rule("relu.default", "relu_.default")
def relu(b: Builder, place: Place, x: Any) -> Data:
    source = data(x)
    return replace(b.emit(ir.ReLU(), [b.settle(source)], place), shape=source.shape)


def _plain(op: str, function: FunctionName) -> None:
    @rule(op)
    def emit(b: Builder, place: Place, x: Any) -> Data:
        return activate(b, place, x, Activation(function))


for _op in ("sigmoid", "tanh", "silu", "hardsigmoid", "hardswish"):
    _plain(f"{_op}.default", _op)  # type: ignore[arg-type]


@rule("gelu.default")
def gelu(b: Builder, place: Place, x: Any, approximate: str) -> Data:
    return activate(b, place, x, Activation("gelu" if approximate == "none" else "gelu_tanh"))


@rule("elu.default")
def elu(b: Builder, place: Place, x: Any, alpha: float, scale: float, input_scale: float = 1) -> Data:
    require(input_scale == 1, f"input_scale {input_scale} is not supported")
    return _times(b, place, activate(b, place, x, Activation("elu", float(alpha))), scale)


@rule("selu.default")
def selu(b: Builder, place: Place, x: Any) -> Data:
    """By the two constants of Klambauer et al. 2017, section 2, as PyTorch has them."""
    return elu(b, place, x, 1.6732632423543772, 1.0507009873554805)


@rule("celu.default")
def celu(b: Builder, place: Place, x: Any, alpha: float) -> Data:
    """``alpha * elu(x / alpha)``, which is the identity where ``x`` is positive."""
    scaled = activate(b, place, _times(b, place, data(x), 1 / alpha), Activation("elu", 1.0))
    return _times(b, place, scaled, alpha)


def _times(b: Builder, place: Place, x: Data, factor: float) -> Data:
    return b.affine(
        x,
        torch.tensor([factor], dtype=torch.float64, device="cpu"),
        torch.zeros(1, dtype=torch.float64, device="cpu"),
        place,
    )


@rule("leaky_relu.default")
def leaky_relu(b: Builder, place: Place, x: Any, slope: float) -> Data:
    return activate(b, place, x, Activation("leaky_relu", float(slope)))


@rule("prelu.default", "_prelu_kernel.default")
def prelu(b: Builder, place: Place, x: Any, weight: Any) -> Data:
    source, slopes = data(x), constant(weight, "weight")
    if slopes.tensor.numel() == 1:
        return leaky_relu(b, place, x, slopes.tensor.item())
    require(source.has_channels_first, "the channels are not its second dimension")
    vector = slopes if slopes.tensor.dim() == 1 else Const(slopes.tensor.reshape(-1))
    name = b.param(vector, f"{b.name('prelu', place)}.weight")
    return activate(b, place, x, Activation("prelu", slope=name))


@rule("clamp_min.default", "clamp.default", "hardtanh.default")
def clamp(b: Builder, place: Place, x: Any, lower: float | None, upper: float | None = None) -> Any:
    """``x`` with what is below or above replaced by a number."""
    lower, upper = (None if n is None or not isfinite(n) else float(n) for n in (lower, upper))
    if isinstance(x, Norm) and upper is None and lower is not None:
        return replace(x, eps=max(x.eps, lower))
    if lower == 0 and upper is None:
        return relu(b, place, x)
    if lower is None:
        return data(x) if upper is None else activate(b, place, x, Activation("clamp_max", beta=upper))
    if upper is None:
        return activate(b, place, x, Activation("clamp_min", lower))
    return activate(b, place, x, Activation("clamp", lower, upper))


@rule("clamp_max.default")
def clamp_max(b: Builder, place: Place, x: Any, upper: float) -> Any:
    return clamp(b, place, x, None, upper)


@rule("relu6.default")
def relu6(b: Builder, place: Place, x: Any) -> Any:
    return clamp(b, place, x, 0.0, 6.0)


@rule("threshold.default")
def threshold(b: Builder, place: Place, x: Any, least: float, value: float) -> Any:
    require(least == value, f"below {least} it is {value}: only a maximum is supported")
    return clamp(b, place, x, least, None)


@rule("maximum.default")
def maximum(b: Builder, place: Place, x: Any, y: Any) -> Any:
    return clamp(b, place, *_and_number(x, y), None)


@rule("minimum.default")
def minimum(b: Builder, place: Place, x: Any, y: Any) -> Any:
    image, number = _and_number(x, y)
    return clamp(b, place, image, None, number)


def _and_number(x: Any, y: Any) -> tuple[Any, float]:
    """A tensor that depends on the input and a number, whichever comes first."""
    image, other = (x, y) if isinstance(x, Symbolic) else (y, x)
    tensor = constant(other, "second operand").tensor
    require(tensor.numel() == 1 and tensor.dim() <= len(data(image).shape) + 1, "the second operand is no number")
    return image, tensor.item()


@rule("pow.Tensor_Scalar", "pow.Tensor_Tensor")
def power(b: Builder, place: Place, x: Any, exponent: Any) -> Any:
    number = exponent if isinstance(exponent, int | float) else _and_number(x, exponent)[1]
    if isinstance(x, LocalMean):
        return x.to_the(number)
    return data(x) if number == 1 else activate(b, place, x, Activation("power", float(number)))


def _root(op: str, exponent: float) -> None:
    @rule(op)
    def emit(b: Builder, place: Place, x: Any) -> Data:
        return activate(b, place, x, Activation("power", exponent))


for _op, _exponent in (("square", 2.0), ("sqrt", 0.5), ("rsqrt", -0.5), ("reciprocal", -1.0)):
    _root(f"{_op}.default", _exponent)
