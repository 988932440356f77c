"""Convolution, and the zero padding in front of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from inception_fast.graph import ir
from inception_fast.graph.aten.local_response import Neighbours, pad_channels
from inception_fast.graph.aten.rule import Ints, constant, image, pair, require, rule
from inception_fast.graph.builder import Builder, Const, Data, Place, Symbolic

Margins = tuple[int, int, int, int]


@dataclass(frozen=True)
class Window:
    """How a kernel moves over an image."""

    stride: ir.Pair
    padding: Margins
    dilation: ir.Pair


MOST_GROUPS = 64
"""Of a convolution that is no depthwise one: each becomes a convolution of its own."""


@dataclass(frozen=True)
class Padded(Symbolic):
    """An image with a constant around it (top, left, bottom, right): a number, or minus infinity."""

    x: Data
    padding: Margins
    value: float

    def __str__(self) -> str:
        if self.value == -math.inf:
            return "a tensor padded with minus infinity, which only a max pool takes"
        return "a padded tensor, which only a convolution or a pool takes"


def padded_image(b: Builder, place: Place, x: Any) -> Data:
    """``x`` if it is an image; one with numbers around it is written out."""
    if not isinstance(x, Padded) or x.value == -math.inf:
        return image(x)
    return b.emit(ir.Pad(x.padding, x.value), [b.value(x.x)], replace(place, is_layer=False))


@rule("pad.default")
def pad(
    b: Builder, place: Place, x: Any, amounts: Sequence[int], mode: str, value: float | None
) -> Padded | Neighbours:
    around = float(value or 0.0)
    require(mode == "constant", f"only padding with a constant is supported, not mode '{mode}'")
    served = around == -math.inf or abs(around) <= torch.finfo(torch.float32).max
    require(served, f"padding with {around} is not supported")
    if len(amounts) > 4:
        return pad_channels(b, x, amounts, value)
    left, right, top, bottom = (*amounts, 0, 0, 0, 0)[:4]
    require(min(left, right, top, bottom) >= 0, "negative padding is not supported")
    added = (top, left, bottom, right)
    if isinstance(x, Padded) and x.value == around:
        return Padded(x.x, _sum(x.padding, added), around)
    return Padded(padded_image(b, place, x), added, around)


def _sum(a: Margins, b: Margins) -> Margins:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3])


@rule("constant_pad_nd.default")
def constant_pad(b: Builder, place: Place, x: Any, amounts: Sequence[int], value: float) -> Padded | Neighbours:
    return pad(b, place, x, amounts, "constant", value)


def _convolve(
    b: Builder,
    place: Place,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Ints,
    padding: Margins,
    dilation: Ints,
    groups: int,
) -> Data:
    takes = isinstance(x, Padded) and x.value == 0
    before = x.padding if takes else (0, 0, 0, 0)
    source = image(x.x) if takes else padded_image(b, place, x)
    kernel = constant(weight, "weight")
    require(kernel.tensor.dim() == 4, "only 2-D convolutions are supported")
    margins = _sum(before, padding)
    if groups > 1:
        return _grouped(b, place, source, kernel, bias, Window(pair(stride), margins, pair(dilation)), groups)
    name = b.name("conv2d", place)
    op = ir.Conv2d(
        weight=b.param(kernel, f"{name}.weight"),
        bias=None if bias is None else b.param(constant(bias, "bias"), f"{name}.bias"),
        stride=pair(stride),
        padding=margins,
        dilation=pair(dilation),
        segments=(ir.Segment(kernel.tensor.shape[0]),),
    )
    return b.emit(op, [b.value(source)], place, name)


def _grouped(
    b: Builder,
    place: Place,
    x: Data,
    weight: Const,
    bias: Any,
    window: Window,
    groups: int,
) -> Data:
    """Convolutions of groups of channels: a depthwise one, or one for each group and a concat."""
    offset = None if bias is None else constant(bias, "bias")
    made, channels = weight.tensor.shape[:2]
    if groups == x.count == made:
        name = b.name("depthwiseconv2d", place)
        names = (b.param(weight, f"{name}.weight"), None if offset is None else b.param(offset, f"{name}.bias"))
        op = ir.DepthwiseConv2d(*names, window.stride, window.padding, window.dilation)
        return b.emit(op, [b.value(x)], place, name)
    require(groups <= MOST_GROUPS, f"{groups} groups, at most {MOST_GROUPS} are served where each is not one channel")
    parts, width, source = [], made // groups, b.value(x)
    for group in range(groups):
        rows = slice(group * width, (group + 1) * width)
        name = b.name("conv2d", replace(place, origin=f"{place.origin}.group{group}"))
        piece = b.emit(ir.Slice(group * channels, channels), [source], replace(place, is_layer=False))
        part = ir.Conv2d(
            b.param(Const(weight.tensor[rows]), f"{name}.weight"),
            None if offset is None else b.param(Const(offset.tensor[rows]), f"{name}.bias"),
            window.stride,
            window.padding,
            window.dilation,
            (ir.Segment(width),),
        )
        parts.append(b.emit(part, [piece.source], place, name))
    return b.concat(parts, place)


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
