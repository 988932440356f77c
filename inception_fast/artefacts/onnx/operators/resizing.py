"""Resize and Upsample: in mode nearest all of them, in modes linear and cubic those that PyTorch computes exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from inception_fast.artefacts.onnx.node import OnnxNode, rule
from inception_fast.artefacts.onnx.numbers import fixed, is_numbers, listed

_LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}
_ROUNDING: dict[str, Callable[[float], int]] = {
    "round_prefer_floor": lambda x: math.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: math.floor(x + 0.5),
    "floor": math.floor,
    "ceil": math.ceil,
}
_CUBIC = -0.75
"""PyTorch's coefficient."""


@rule("Upsample")
def upsample(node: OnnxNode, x: Tensor, scales: Any) -> Tensor:
    node.require(is_numbers(scales), "scales that are computed")
    return _resized(node, x, listed(scales), None, "asymmetric", "floor")


@rule("Resize")
def resize(node: OnnxNode, x: Tensor, *given: Any) -> Tensor:
    if node.opset < 11:
        return upsample(node, x, *given)
    _, scales, sizes = (*given, None, None, None)[:3]
    node.require(all(v is None or is_numbers(v) for v in (scales, sizes)), "sizes that are computed")
    node.require(not node.get("antialias", 0), "antialiasing")
    node.require(node.get("keep_aspect_ratio_policy", "stretch") == "stretch", "an aspect ratio that is kept")
    rank, axes = x.dim(), node.get("axes")
    axes = list(range(rank)) if axes is None else [a % rank for a in axes]
    factors, extents = [1.0] * rank, list(x.shape)
    if sizes:
        for axis, s in zip(axes, listed(sizes), strict=True):
            extents[axis] = s
    else:
        node.require(bool(scales), "neither scales nor sizes")
        for axis, s in zip(axes, listed(scales), strict=True):
            factors[axis] = s
    coordinates = node.get("coordinate_transformation_mode", "half_pixel")
    rounding = node.get("nearest_mode", "round_prefer_floor")
    return _resized(node, x, None if sizes else factors, extents if sizes else None, coordinates, rounding)


def _resized(
    node: OnnxNode, x: Tensor, scales: list[float] | None, sizes: list[Any] | None, coordinates: str, rounding: str
) -> Tensor:
    """Args:
    scales, sizes: one of them, for all dimensions.
    """
    before = list(x.shape[2:])
    node.require(3 <= x.dim() <= 5 and fixed(before), f"another size of a tensor {list(x.shape)}")
    if scales is not None:
        node.require(len(scales) == x.dim() and scales[0] == scales[1] == 1, "another size of the batch or of channels")
        scales = scales[2:]
        after = [math.floor(b * s) for b, s in zip(before, scales, strict=True)]
    else:
        assert sizes is not None
        node.require(fixed(sizes[1:]) and sizes[1] == x.shape[1], "another size of channels")
        after = sizes[2:]
        scales = [a / b for a, b in zip(after, before, strict=True)]
    node.require(min(after) > 0, "a size of zero")
    whole = sizes is not None or all(a == b * s for a, b, s in zip(after, before, scales, strict=True))
    # Runtimes differ in which of the two sizes, the real or the whole one, they put the corners on.
    node.require(whole or coordinates != "align_corners", f"aligned corners with the scales {scales}")
    mode = node.get("mode", "nearest")
    if mode == "nearest":
        return _nearest(node, x, after, scales, coordinates, rounding)
    node.require(mode == "linear" or (mode == "cubic" and x.dim() == 4), f"the mode {mode!r}")
    node.require(mode == "linear" or node.get("cubic_coeff_a", _CUBIC) == _CUBIC, "another cubic coefficient")
    node.require(not node.get("exclude_outside", 0), "exclude_outside")
    half = coordinates == "half_pixel" or (coordinates == "half_pixel_symmetric" and whole)
    # Of one pixel that is left, that one takes the first in place of the middle.
    half |= coordinates == "pytorch_half_pixel" and all(a > 1 or b == 1 for a, b in zip(after, before, strict=True))
    node.require(half or coordinates == "align_corners", f"the coordinates {coordinates!r} in mode {mode!r}")
    name = "bicubic" if mode == "cubic" else _LINEAR[x.dim()]
    if half and not whole:
        return F.interpolate(x, scale_factor=scales, mode=name, align_corners=False, recompute_scale_factor=False)
    return F.interpolate(x, after, mode=name, align_corners=not half)


def _nearest(
    node: OnnxNode, x: Tensor, after: Sequence[int], scales: Sequence[float], coordinates: str, rounding: str
) -> Tensor:
    node.require(rounding in _ROUNDING, f"the rounding {rounding!r}")
    places = [
        [min(max(_ROUNDING[rounding](_source(node, coordinates, i, b, a, s)), 0), b - 1) for i in range(a)]
        for b, a, s in zip(x.shape[2:], after, scales, strict=True)
    ]
    # PyTorch divides in float32, which is exact for these.
    doubled = all(a // b in (1, 2, 4, 8) and a % b == 0 for b, a in zip(x.shape[2:], after, strict=True))
    if doubled and all(p == [i * b // a for i in range(a)] for p, b, a in zip(places, x.shape[2:], after, strict=True)):
        return F.interpolate(x, list(after), mode="nearest")
    for i, p in enumerate(places):
        if p != list(range(x.shape[2 + i])):
            x = x.index_select(2 + i, torch.tensor(p, device=x.device))
    return x


def _source(node: OnnxNode, coordinates: str, i: int, before: int, after: int, scale: float) -> float:
    """Where the pixel ``i`` of a result comes from."""
    half = (i + 0.5) / scale - 0.5
    if coordinates == "half_pixel":
        return half
    if coordinates == "pytorch_half_pixel":
        return half if after > 1 else 0.0
    if coordinates == "half_pixel_symmetric":
        return before / 2 * (1 - after / (before * scale)) + half
    if coordinates == "align_corners":
        return i * (before - 1) / (after - 1) if after > 1 else 0.0
    node.require(coordinates == "asymmetric", f"the coordinates {coordinates!r}")
    return i / scale
