"""Pad."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from inception_fast.artefacts.onnx.node import OnnxNode, rule
from inception_fast.artefacts.onnx.numbers import fixed, is_numbers, listed
from inception_fast.artefacts.onnx.operators.windows import padding_of

_MODES = {"reflect": "reflect", "edge": "replicate"}


@rule("Pad")
def pad(node: OnnxNode, x: Tensor, pads: Any = None, value: Any = None, axes: Any = None) -> Tensor:
    if node.opset < 11:
        pads, value = node.get("pads"), node.get("value", 0.0)
    node.require(is_numbers(pads) and fixed(listed(pads)), "padding that is computed")
    node.require(value is None or is_numbers(value), "a value that is computed")
    node.require(axes is None or (is_numbers(axes) and fixed(listed(axes))), "axes that are computed")
    pads, count = listed(pads), len(listed(pads)) // 2
    begin, end = [0] * x.dim(), [0] * x.dim()
    for i, axis in enumerate(range(x.dim()) if axes is None else listed(axes)):
        begin[axis], end[axis] = pads[i], pads[count + i]
    spatial = next((i for i, p in enumerate(zip(begin, end, strict=True)) if any(p)), x.dim())
    if spatial == x.dim():
        return x
    mode = node.get("mode", "constant")
    if mode == "constant":
        return F.pad(x, padding_of(begin[spatial:], end[spatial:]), value=listed(value or 0.0)[0])
    node.require(mode in _MODES, f"padding of mode {mode!r}")
    node.require(spatial >= 2 and 3 <= x.dim() <= 5, f"{mode} padding of the batch or of channels")
    node.require(min(*begin, *end) >= 0, f"negative {mode} padding")
    return F.pad(x, padding_of(begin[2:], end[2:]), _MODES[mode])
