"""Reduce* and ArgMax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from inception_fast.artefacts.onnx.node import OnnxNode, rule
from inception_fast.artefacts.onnx.numbers import fixed, is_numbers, listed

_REDUCTIONS: dict[str, Callable[[Tensor, list[int], bool], Tensor]] = {
    "ReduceMean": lambda x, dims, keep: x.mean(dims, keep),
    "ReduceSum": lambda x, dims, keep: x.sum(dims, keep),
    "ReduceMax": lambda x, dims, keep: x.amax(dims, keep),
    "ReduceMin": lambda x, dims, keep: x.amin(dims, keep),
    "ReduceL2": lambda x, dims, keep: torch.linalg.vector_norm(x, 2, dims, keep),
}
_AXES_ARE_INPUT = {"ReduceSum": 13}
"""The opset from which on axes are an input; 18 for all others."""


@rule(*_REDUCTIONS)
def reduce(node: OnnxNode, x: Tensor, axes: Any = None) -> Tensor:
    if node.opset < _AXES_ARE_INPUT.get(node.op, 18):
        axes = node.get("axes")
    node.require(axes is None or is_numbers(axes), "axes that are computed")
    node.require(isinstance(x, Tensor), "a reduction of sizes")
    dims = listed(axes) if axes is not None else []
    node.require(fixed(dims), "axes that depend on the batch")
    if not dims:
        if node.get("noop_with_empty_axes", 0):
            return x
        dims = list(range(x.dim()))
    result = _REDUCTIONS[node.op](x, dims, bool(node.get("keepdims", 1)))
    # Sums of whole numbers have their own type in PyTorch.
    return result if result.dtype is x.dtype else result.to(x.dtype)


@rule("ArgMax")
def argmax(node: OnnxNode, x: Tensor) -> Tensor:
    node.require(not node.get("select_last_index", 0), "the last of several maxima")
    return x.argmax(node.get("axis", 0), bool(node.get("keepdims", 1)))
