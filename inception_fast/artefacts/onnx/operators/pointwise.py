"""Arithmetic, activations, and operators that change nothing."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from inception_fast.artefacts.onnx.node import OnnxNode, rule
from inception_fast.artefacts.onnx.numbers import elementwise, is_numbers, tensor_like
from inception_fast.artefacts.onnx.tensors import DTYPES


def _operands(a: Any, b: Any) -> tuple[Any, Any]:
    """Two operands of which one at least is a tensor; a number stays one where that changes no shape."""
    if isinstance(b, Tensor) and not isinstance(a, Tensor):
        return tuple(reversed(_operands(b, a)))  # type: ignore[return-value]
    if isinstance(b, list | tuple):
        b = b[0] if len(b) == 1 and a.dim() else tensor_like(b, a)
    return a, b


def _binary(node: OnnxNode, function: Callable[..., Any], a: Any, b: Any) -> Any:
    if is_numbers(a) and is_numbers(b):
        return elementwise(function, a, b)
    return function(*_operands(a, b))


@rule("Add")
def add(node: OnnxNode, a: Any, b: Any) -> Any:
    return _binary(node, operator.add, a, b)


@rule("Sub")
def sub(node: OnnxNode, a: Any, b: Any) -> Any:
    return _binary(node, operator.sub, a, b)


@rule("Mul")
def mul(node: OnnxNode, a: Any, b: Any) -> Any:
    return _binary(node, operator.mul, a, b)


@rule("Div")
def div(node: OnnxNode, a: Any, b: Any) -> Any:
    return _binary(node, _quotient, a, b)


def _quotient(a: Any, b: Any) -> Any:
    """Of whole numbers, rounded towards zero."""
    tensor = next((v for v in (a, b) if isinstance(v, Tensor)), None)
    if tensor is not None:
        if tensor.is_floating_point():
            return a / b
        return torch.div(tensor_like(a, tensor), b, rounding_mode="trunc")
    if isinstance(a, float) or isinstance(b, float):
        return a / b
    if isinstance(a, int) and isinstance(b, int) and (a < 0) != (b < 0):
        return -(-a // b)
    return a // b


@rule("Pow")
def power(node: OnnxNode, a: Any, b: Any) -> Any:
    result = _binary(node, operator.pow, a, b)
    return result.to(a.dtype) if isinstance(a, Tensor) and result.dtype is not a.dtype else result


@rule("Neg")
def neg(node: OnnxNode, x: Any) -> Any:
    return elementwise(operator.neg, x) if is_numbers(x) else -x


@rule("Max", "Min", "Sum")
def several(node: OnnxNode, *operands: Any) -> Any:
    result = operands[0]
    for other in operands[1:]:
        if node.op == "Sum":
            result = result + other
        elif is_numbers(result) and is_numbers(other):
            result = elementwise(max if node.op == "Max" else min, result, other)
        else:
            a, b = _operands(result, other)
            a, b = (a, b) if isinstance(a, Tensor) else (b, a)
            function = torch.maximum if node.op == "Max" else torch.minimum
            result = function(a, torch.as_tensor(b, dtype=a.dtype, device=a.device))
    return result


_PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs,
    "Exp": torch.exp,
    "Log": torch.log,
    "Reciprocal": torch.reciprocal,
    "Relu": F.relu,
    "Sigmoid": torch.sigmoid,
    "Softplus": F.softplus,
    "Sqrt": torch.sqrt,
    "Tanh": torch.tanh,
    "HardSwish": F.hardswish,
}


@rule(*_PLAIN)
def plain(node: OnnxNode, x: Tensor) -> Tensor:
    return _PLAIN[node.op](x)


@rule("LeakyRelu")
def leaky_relu(node: OnnxNode, x: Tensor) -> Tensor:
    return F.leaky_relu(x, node.real("alpha", 0.01))


@rule("Elu")
def elu(node: OnnxNode, x: Tensor) -> Tensor:
    return F.elu(x, node.real("alpha", 1.0))


@rule("PRelu")
def prelu(node: OnnxNode, x: Tensor, slope: Tensor) -> Tensor:
    by_channel = x.dim() > 1 and slope.dim() == x.dim() - 1 and slope.numel() == slope.shape[0] == x.shape[1]
    if slope.numel() == 1 or by_channel:
        return F.prelu(x, slope.reshape(-1))
    return torch.where(x < 0, slope * x, x)


@rule("HardSigmoid")
def hard_sigmoid(node: OnnxNode, x: Tensor) -> Tensor:
    return (x * node.real("alpha", 0.2) + node.real("beta", 0.5)).clamp(0.0, 1.0)


@rule("Clip")
def clip(node: OnnxNode, x: Any, lower: Any = None, upper: Any = None) -> Any:
    if node.opset < 11:
        lower, upper = node.get("min"), node.get("max")
    lower, upper = (v[0] if isinstance(v, list | tuple) else v for v in (lower, upper))
    if lower is None and upper is None:
        return x
    if lower == 0 and upper is None:
        return F.relu(x)
    if lower is not None and upper is not None and not (is_numbers(lower) and is_numbers(upper)):
        lower, upper = tensor_like(lower, x), tensor_like(upper, x)
    return torch.clamp(x, lower, upper)


@rule("Softmax", "LogSoftmax")
def softmax(node: OnnxNode, x: Tensor) -> Tensor:
    function = F.softmax if node.op == "Softmax" else F.log_softmax
    axis = node.get("axis", -1 if node.opset >= 13 else 1) % x.dim()
    if node.opset >= 13 or axis == x.dim() - 1:
        return function(x, axis)
    # Over all dimensions from the axis on.
    flat = x.flatten(axis) if axis else x.reshape(-1)
    return function(flat, -1).reshape(x.shape)


@rule("Identity")
def identity(node: OnnxNode, x: Any) -> Any:
    return x


@rule("Dropout")
def dropout(node: OnnxNode, x: Any, ratio: Any = None, training: Any = None) -> Any:
    node.require(training in (None, False), "a dropout in training mode")
    return x


@rule("Cast")
def cast(node: OnnxNode, x: Any) -> Any:
    dtype = DTYPES.get(node.get("to"))
    node.require(dtype is not None, f"a cast to ONNX's type {node.get('to')}")
    assert dtype is not None
    if isinstance(x, Tensor):
        return x.to(dtype)
    kind = float if dtype.is_floating_point else bool if dtype is torch.bool else torch.sym_int
    return elementwise(torch.sym_float if kind is float else kind, x)
