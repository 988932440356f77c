"""Matrix products and batch normalisation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from inception_fast.graph import ir
from inception_fast.graph.aten.rule import constant, data, require, rule
from inception_fast.graph.builder import Builder, CannotExpress, Const, Data, Place


@rule("batch_norm.default")
def batch_norm(
    b: Builder,
    place: Place,
    x: Any,
    weight: Any,
    bias: Any,
    mean: Any,
    var: Any,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Data:
    if training:
        raise CannotExpress("it takes its statistics from the batch, so images would depend on each other")
    return native_batch_norm(b, place, x, weight, bias, mean, var, momentum, eps)[0]


@rule("_native_batch_norm_legit_no_training.default")
def native_batch_norm(
    b: Builder, place: Place, x: Any, weight: Any, bias: Any, mean: Any, var: Any, momentum: float, eps: float
) -> tuple[Data]:
    source = data(x)
    require(source.has_channels_first, "the channels are not its second dimension")
    name = b.name("batchnorm", place)

    def param(const: Any, what: str) -> str:
        return b.param(constant(const, what), f"{name}.{what}")

    op = ir.BatchNorm(
        mean=param(mean, "running_mean"),
        var=param(var, "running_var"),
        weight=None if weight is None else param(weight, "weight"),
        bias=None if bias is None else param(bias, "bias"),
        eps=eps,
    )
    return (replace(b.emit(op, [b.settle(source)], place, name), shape=source.shape),)


@rule("_native_batch_norm_legit.no_stats", "_native_batch_norm_legit.default")
def batch_norm_in_training(b: Builder, place: Place, *_: Any) -> None:
    raise CannotExpress("it takes its statistics from the batch, so images would depend on each other")


@rule("linear.default")
def linear(b: Builder, place: Place, x: Any, weight: Any, bias: Any) -> Data:
    source = data(x)
    require(len(source.shape) == 1, "only flat inputs (N, C) are supported")
    name = b.name("linear", place)
    op = ir.Linear(
        weight=b.param(constant(weight, "weight"), f"{name}.weight"),
        bias=None if bias is None else b.param(constant(bias, "bias"), f"{name}.bias"),
    )
    return b.emit(op, [b.value(source)], place, name)


@rule("mm.default", "matmul.default")
def matmul(b: Builder, place: Place, x: Any, weight: Any) -> Data:
    matrix = constant(weight, "second matrix").tensor
    require(matrix.dim() == 2, "only a matrix (C_in, C_out) is supported on the right")
    return linear(b, place, x, Const(matrix.t()), None)


@rule("addmm.default")
def addmm(b: Builder, place: Place, bias: Any, x: Any, weight: Any, beta: float, alpha: float) -> Data:
    vector, matrix = constant(bias, "bias").tensor, constant(weight, "second matrix").tensor
    require(vector.dim() == 1 or vector.shape[0] == 1, "its bias differs between images")
    # The input itself is not scaled, so beta and alpha go into the constants.
    columns = matrix.shape[1]
    return linear(
        b, place, x, Const(_scaled(matrix, alpha).t()), Const(_scaled(vector.reshape(-1), beta).expand(columns))
    )


def _scaled(tensor: Tensor, factor: float) -> Tensor:
    return tensor if factor == 1 else tensor.double() * factor
