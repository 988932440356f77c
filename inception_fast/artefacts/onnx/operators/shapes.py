"""Sizes of tensors, and constants made of them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from inception_fast.artefacts.onnx.node import OnnxNode, rule
from inception_fast.artefacts.onnx.numbers import MOST, fixed, is_numbers, listed
from inception_fast.artefacts.onnx.tensors import tensor_of

LARGEST_FILL = 2**20
"""Elements of a constant that no bytes of the file stand for."""


@rule("Shape")
def shape(node: OnnxNode, x: Any) -> list[Any]:
    sizes = list(x.shape) if isinstance(x, Tensor) else [len(x)] if isinstance(x, list | tuple) else []
    # Negative ones count from the end, and all are kept within the rank, in ONNX as in Python.
    return sizes[slice(node.get("start", 0), node.get("end"))]


@rule("Size")
def size(node: OnnxNode, x: Any) -> Any:
    return math.prod(shape(OnnxNode("Shape", node.name, node.domain, node.opset, {}), x))


@rule("ConstantOfShape")
def constant_of_shape(node: OnnxNode, extents: Any) -> Any:
    node.require(is_numbers(extents), "a shape that is computed")
    extents = listed(extents)
    proto = node.get("value")
    value = torch.zeros(1, dtype=torch.float32, device="cpu") if proto is None else tensor_of(proto)
    node.require(value.numel() == 1, f"a fill of {value.numel()} values")
    node.require(math.prod(e for e in extents if fixed([e])) <= LARGEST_FILL, f"a constant of shape {extents}")
    if len(extents) == 1 and fixed(extents) and extents[0] <= MOST and not value.is_floating_point():
        return [value.item()] * extents[0]
    return torch.full(extents, value.item(), dtype=value.dtype, device="cpu")
