"""Pooling, reductions over all pixels, and resizing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from inception_fast.graph import ir
from inception_fast.graph.aten.convolution import Padded, padded_image
from inception_fast.graph.aten.rule import Ints, data, image, pair, require, rule
from inception_fast.graph.builder import Builder, CannotExpress, Data, Place
from inception_fast.graph.shapes import pool_extent


@rule("max_pool2d.default")
def max_pool2d(
    b: Builder, place: Place, x: Any, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool
) -> Data:
    window = pair(kernel)
    op = ir.MaxPool(window, pair(stride, window), pair(padding), pair(dilation), ceil_mode)
    if isinstance(x, Padded) and x.value == -math.inf:
        op, x = replace(op, outside=x.padding), x.x
        _require_pixels(op, image(x).shape[1:])
    return b.emit(op, [b.value(padded_image(b, place, x))], place)


def _require_pixels(op: ir.MaxPool, sizes: Sequence[int]) -> None:
    """Refuses a pool of which a window sees minus infinity alone."""
    for i, size in enumerate(sizes):
        begin, span = op.padding[i] + op.outside[i], op.dilation[i] * (op.kernel[i] - 1) + 1
        out = pool_extent(
            size + op.outside[i] + op.outside[2 + i],
            op.kernel[i],
            op.stride[i],
            op.padding[i],
            op.ceil_mode,
            op.dilation[i],
        )
        require(begin < span and (out - 1) * op.stride[i] - begin < size, "a window lies outside of the image")


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
    return b.emit(op, [b.value(padded_image(b, place, x))], place)


@rule("adaptive_avg_pool2d.default", "_adaptive_avg_pool2d.default")
def adaptive_avg_pool2d(b: Builder, place: Place, x: Any, size: Ints) -> Data:
    return b.emit(ir.AdaptiveAvgPool(pair(size)), [b.value(padded_image(b, place, x))], place)


@rule("adaptive_max_pool2d.default")
def adaptive_max_pool2d(b: Builder, place: Place, x: Any, size: Ints) -> tuple[Data]:
    source, out = padded_image(b, place, x), pair(size)
    if out == (1, 1):
        return (_global_max(b, place, source),)
    return (b.emit(ir.AdaptiveMaxPool(out), [b.value(source)], place),)


def _global_max(b: Builder, place: Place, x: Data) -> Data:
    plane = pair(b.natural_shape(x)[1:])
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
        # PyTorch places pixels by the factor itself, a Resize by the ratio of the sizes: not the same once rounded.
        require(
            align_corners or size == [height * scale_factors[0], width * scale_factors[1]],
            f"the scale factor {list(scale_factors)} does not give a whole number of pixels; use size=",
        )
    return b.emit(ir.Resize(pair(size), align_corners), [b.value(source)], place)


@rule("_upsample_bilinear2d_aa.vec", "_upsample_bilinear2d_aa.default")
def upsample_antialiased(b: Builder, place: Place, *_: Any) -> None:
    raise CannotExpress("interpolation with antialiasing is not supported")
