"""Convolution, and the zero padding in front of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inception_fast.graph import ir
from inception_fast.graph.aten.rule import Ints, constant, image, pair, require, rule
from inception_fast.graph.builder import Builder, Data, Place, Symbolic

Margins = tuple[int, int, int, int]


@dataclass(frozen=True)
class Padded(Symbolic):
    """An image with zeros around it (top, left, bottom, right), which only a convolution can take."""

    x: Data
    padding: Margins

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
    return Padded(image(x.x if isinstance(x, Padded) else x), _sum(before, added))


def _sum(a: Margins, b: Margins) -> Margins:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3])


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
    padding: Margins,
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
        padding=_sum(before, padding),
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
