"""Convolution, normalisation, pooling, linear and resizing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from inception_fast.graph import ir
from inception_fast.graph.aten.rule import constant, data, image, pair, require, rule
from inception_fast.graph.builder import Builder, Const, Data, Place, Symbolic

Ints = int | Sequence[int]


@dataclass(frozen=True)
class Padded(Symbolic):
    """An image with zeros around it (top, left, bottom, right), which only a convolution can take."""

    x: Data
    padding: tuple[int, int, int, int]

    def __str__(self) -> str:
        return "a zero-padded tensor, which only a convolution takes"


@rule("pad.default")
def pad(b: Builder, place: Place, x: Any, amounts: Sequence[int], mode: str, value: float | None) -> Padded:
    require(mode == "constant" and not value, "only padding with zeros is supported")
    before = x.padding if isinstance(x, Padded) else (0, 0, 0, 0)
    left, right, top, bottom = (*amounts, 0, 0, 0, 0)[:4]
    require(not any(amounts[4:]), "only height and width can be padded")
    require(min(left, right, top, bottom) >= 0, "negative padding is not supported")
    added = (top, left, bottom, right)
    return Padded(image(x.x if isinstance(x, Padded) else x), tuple(p + q for p, q in zip(before, added, strict=True)))


@rule("constant_pad_nd.default")
def constant_pad(b: Builder, place: Place, x: Any, amounts: Sequence[int], value: float) -> Padded:
    return pad(b, place, x, amounts, "constant", value)


def _convolve(
    b: Builder,
    place: Place,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Ints,
    padding: tuple[int, int, int, int],
    dilation: Ints,
    groups: int,
) -> Data:
    require(groups == 1, f"grouped convolutions (groups={groups}) are not supported")
    before = x.padding if isinstance(x, Padded) else (0, 0, 0, 0)
    source = image(x.x if isinstance(x, Padded) else x)
    kernel = constant(weight, "weight")
    require(kernel.tensor.dim() == 4, "only 2-D convolutions are supported")
    name = b.name("conv2d", place)
    op = ir.Conv2d(
        weight=b.param(kernel, f"{name}.weight"),
        bias=None if bias is None else b.param(constant(bias, "bias"), f"{name}.bias"),
        stride=pair(stride),
        padding=tuple(p + q for p, q in zip(before, padding, strict=True)),
        dilation=pair(dilation),
        segments=(ir.Segment(kernel.tensor.shape[0]),),
    )
    return b.emit(op, [b.value(source)], place, name)


@rule("conv2d.default")
def conv2d(
    b: Builder, place: Place, x: Any, weight: Any, bias: Any, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Data:
    vertical, horizontal = pair(padding)
    return _convolve(b, place, x, weight, bias, stride, (vertical, horizontal) * 2, dilation, groups)


@rule("conv2d.padding")
def conv2d_named_padding(
    b: Builder, place: Place, x: Any, weight: Any, bias: Any, stride: Ints, padding: str, dilation: Ints, groups: int
) -> Data:
    if padding == "valid":
        return conv2d(b, place, x, weight, bias, stride, 0, dilation, groups)
    # 'same': what does not divide evenly goes to the bottom and the right.
    kernel = constant(weight, "weight").tensor.shape[2:]
    total = [d * (k - 1) for d, k in zip(pair(dilation), kernel, strict=True)]
    top, left = (t // 2 for t in total)
    return _convolve(b, place, x, weight, bias, stride, (top, left, total[0] - top, total[1] - left), dilation, groups)


@rule("convolution.default")
def convolution(
    b: Builder,
    place: Place,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
) -> Data:
    require(not transposed, "transposed convolutions are not supported")
    return conv2d(b, place, x, weight, bias, stride, padding, dilation, groups)


@rule("_native_batch_norm_legit_no_training.default")
def batch_norm(
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
def batch_norm_of_the_batch(b: Builder, place: Place, *_: Any) -> None:
    require(False, "this batch normalisation takes its statistics from the batch; the result would depend on it")


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


@rule("max_pool2d.default")
def max_pool2d(
    b: Builder, place: Place, x: Any, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool
) -> Data:
    window = pair(kernel)
    op = ir.MaxPool(window, pair(stride, window), pair(padding), pair(dilation), ceil_mode)
    return b.emit(op, [b.value(image(x))], place)


@rule("max_pool2d_with_indices.default")
def max_pool2d_with_indices(b: Builder, place: Place, *args: Any) -> tuple[Data]:
    return (max_pool2d(b, place, *args),)


@rule("avg_pool2d.default")
def avg_pool2d(
    b: Builder,
    place: Place,
    x: Any,
    kernel: Ints,
    stride: Ints,
    padding: Ints,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Data:
    require(divisor_override is None, "divisor_override is not supported")
    window = pair(kernel)
    op = ir.AvgPool(window, pair(stride, window), pair(padding), ceil_mode, count_include_pad)
    return b.emit(op, [b.value(image(x))], place)


@rule("adaptive_avg_pool2d.default", "_adaptive_avg_pool2d.default")
def adaptive_avg_pool2d(b: Builder, place: Place, x: Any, size: Ints) -> Data:
    source, out = image(x), pair(size)
    require(
        all(i % o == 0 for i, o in zip(source.shape[1:], out, strict=True)),
        f"the output size {out} does not divide the input's {source.shape[1:]}",
    )
    return b.emit(ir.AdaptiveAvgPool(out), [b.value(source)], place)


@rule("adaptive_max_pool2d.default")
def adaptive_max_pool2d(b: Builder, place: Place, x: Any, size: Ints) -> tuple[Data]:
    source = image(x)
    require(pair(size) == (1, 1), "only the global maximum, of output size (1, 1), is supported")
    return (_global_max(b, place, source),)


def _global_max(b: Builder, place: Place, x: Data) -> Data:
    plane = b.natural_shape(x)[1:]
    return b.emit(ir.MaxPool(plane, plane, (0, 0)), [b.settle(x)], place)


def _over_pixels(x: Any, dims: Sequence[int] | None) -> Data:
    """``x`` if ``dims`` are all its dimensions but the batch and the channels."""
    source = data(x)
    rank = len(source.shape) + 1
    given = range(rank) if not dims else sorted(d % rank for d in dims)
    require(
        source.has_channels_first and list(given) == list(range(2, rank)), "only all pixels of a channel can be reduced"
    )
    return source


def _reduced(result: Data, source: Data, keepdim: bool) -> Data:
    ones = (1,) * (len(source.shape) - 1) if keepdim else ()
    return replace(result, shape=(result.count, *ones))


@rule("mean.dim")
def mean(b: Builder, place: Place, x: Any, dims: Sequence[int] | None, keepdim: bool, dtype: Any) -> Data:
    source = _over_pixels(x, dims)
    return _reduced(b.emit(ir.AdaptiveAvgPool((1, 1)), [b.settle(source)], place), source, keepdim)


@rule("amax.default")
def amax(b: Builder, place: Place, x: Any, dims: Sequence[int], keepdim: bool) -> Data:
    source = _over_pixels(x, dims)
    return _reduced(_global_max(b, place, source), source, keepdim)


@rule("upsample_bilinear2d.vec")
def upsample_bilinear2d(
    b: Builder,
    place: Place,
    x: Any,
    size: Sequence[int] | None,
    align_corners: bool,
    scale_factors: Sequence[float] | None,
) -> Data:
    source = image(x)
    height, width = source.shape[1:]
    if size is None:
        assert scale_factors is not None
        size = [int(height * scale_factors[0]), int(width * scale_factors[1])]
        # PyTorch places the pixels by the factor itself, we by the ratio of the sizes: the same only for a whole result.
        require(
            align_corners or size == [height * scale_factors[0], width * scale_factors[1]],
            f"the scale factor {list(scale_factors)} does not give a whole number of pixels; use size=",
        )
    return b.emit(ir.Resize(pair(size), align_corners), [b.value(source)], place)


@rule("_upsample_bilinear2d_aa.vec", "_upsample_bilinear2d_aa.default")
def upsample_antialiased(b: Builder, place: Place, *_: Any) -> None:
    require(False, "bilinear interpolation with antialiasing is not supported")
