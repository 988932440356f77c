"""Arithmetic, dropout and type conversion."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import SymFloat, SymInt, Tensor

from inception_fast.graph import ir
from inception_fast.graph.aten.gate import gate
from inception_fast.graph.aten.local_response import LocalMean
from inception_fast.graph.aten.norm import Norm
from inception_fast.graph.aten.rule import data, in_any_order, require, rule
from inception_fast.graph.builder import Builder, CannotExpress, Const, Data, Place, Symbolic


@rule("dropout.default", "feature_dropout.default", "alpha_dropout.default", "feature_alpha_dropout.default")
def dropout(b: Builder, place: Place, x: Any, p: float, train: bool) -> Data:
    require(not train or p == 0, "dropout is active; it must follow the training flag")
    return data(x)


@rule("native_dropout.default")
def native_dropout(b: Builder, place: Place, x: Any, p: float, train: bool | None) -> tuple[Data]:
    return (dropout(b, place, x, p, train is not False),)


@rule("clone.default", "contiguous.default", "alias.default", "detach.default", "lift_fresh_copy.default")
@in_any_order
def same(b: Builder, place: Place, x: Any, *_: Any) -> Any:
    return x


# The walk compares the types of whatever a rule returns, so a conversion may claim to be the identity.
@rule("_to_copy.default", "to.dtype", "to.dtype_layout", "to.device", "to.other", "type_as.default")
@in_any_order
def convert(b: Builder, place: Place, x: Any, *_: Any) -> Any:
    return data(x)


def _vector(x: Data, operand: Any, place: Place) -> Tensor:
    """A constant operand as float64 ``[1]`` or ``[count]``, one number for each channel of ``x``."""
    if isinstance(operand, SymInt | SymFloat):
        raise CannotExpress("it computes with the number of images")
    if not isinstance(operand, Const):
        return torch.tensor([operand], dtype=torch.float64, device="cpu")
    tensor = operand.tensor.detach().cpu().double()
    rank = len(x.shape) + 1
    require(tensor.dim() <= rank, "the constant has more dimensions than the tensor")
    shape = (1,) * (rank - tensor.dim()) + tuple(tensor.shape)
    require(all(s in (1, d) for s, d in zip(shape[1:], x.shape, strict=True)), "the constant enlarges the tensor")
    require(shape[0] == 1, "the constant differs between images")
    if tensor.numel() > 1:
        along_channels = shape[x.channel_axis] == tensor.numel() and (x.has_channels_first or x.is_turned)
        require(along_channels, "the constant differs between pixels")
    return tensor.reshape(-1)


def _number(operand: Any) -> float:
    require(isinstance(operand, int | float), "a tensor in place of a number")
    return float(operand)


def _affine(b: Builder, place: Place, x: Any, scale: Any = 1.0, shift: Any = 0.0, invert: bool = False) -> Data:
    source = data(x)
    factor = _vector(source, scale, place)
    if invert:
        tiny = (factor != 0) & (1 / factor).float().isinf()
        require(not bool(tiny.any()), "the divisor is so small that its reciprocal is no float32")
        factor = 1 / factor
    return b.affine(source, factor, _vector(source, shift, place), place)


@rule("mul.Tensor", "mul.Scalar")
@in_any_order
def mul(b: Builder, place: Place, x: Any, y: Any) -> Data | LocalMean:
    if isinstance(x, Symbolic) and isinstance(y, Symbolic):
        return gate(b, place, x, y)
    factor, image = (y, x) if isinstance(x, Symbolic) else (x, y)
    if isinstance(image, LocalMean):
        return image.plus(_number(factor), 0.0)
    return _affine(b, place, image, scale=factor)


@rule("div.Tensor", "div.Scalar")
@in_any_order
def div(b: Builder, place: Place, x: Any, y: Any) -> Data:
    if isinstance(y, Norm | LocalMean):
        return y.dividing(b, place, x)
    require(not isinstance(y, Symbolic), "division by a tensor that depends on the input is not supported")
    return _affine(b, place, x, scale=y, invert=True)


@rule("neg.default")
@in_any_order
def neg(b: Builder, place: Place, x: Any) -> Data:
    return _affine(b, place, x, scale=-1.0)


@rule("add.Tensor", "add.Scalar")
@in_any_order
def add(b: Builder, place: Place, x: Any, y: Any, alpha: Any = 1) -> Data | LocalMean:
    if isinstance(x, LocalMean):
        return x.plus(1.0, _number(y) * _number(alpha))
    return _sum(b, place, x, 1.0, y, alpha)


@rule("sub.Tensor", "sub.Scalar")
@in_any_order
def sub(b: Builder, place: Place, x: Any, y: Any, alpha: Any = 1) -> Data:
    return _sum(b, place, x, 1.0, y, -alpha)


@rule("rsub.Tensor", "rsub.Scalar")
@in_any_order
def rsub(b: Builder, place: Place, x: Any, y: Any, alpha: Any = 1) -> Data:
    return _sum(b, place, x, -alpha, y, 1.0)


def _sum(b: Builder, place: Place, x: Any, x_factor: float, y: Any, y_factor: float) -> Data:
    """``x_factor * x + y_factor * y``, where either may be constant."""
    if not isinstance(x, Symbolic):
        x, x_factor, y, y_factor = y, y_factor, x, x_factor
    left = _affine(b, place, x, scale=x_factor)
    if not isinstance(y, Symbolic):
        vector = _vector(left, y, place)
        return b.affine(left, torch.ones(1, dtype=torch.float64, device="cpu"), vector * y_factor, place)
    right = _affine(b, place, y, scale=y_factor)
    require(left.shape == right.shape, "tensors of different shapes are added")
    if b.natural_shape(left) == b.natural_shape(right):
        names = [b.settle(left), b.settle(right)]
    else:
        names = [b.value(left), b.value(right)]
    return replace(b.emit(ir.Add(), names, place), shape=left.shape)
