"""Other shapes of the same elements."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true

from inception_fast.artefacts.onnx.node import OnnxNode, rule
from inception_fast.artefacts.onnx.numbers import fixed, is_numbers, listed, tensor_like


@rule("Flatten")
def flatten(node: OnnxNode, x: Tensor) -> Tensor:
    axis = node.get("axis", 1)
    axis = axis + x.dim() if axis < 0 else axis
    if axis == 0:
        return x.reshape(1, -1)
    if axis == x.dim():
        return x.reshape(-1, 1)
    rows = x if axis == 1 else x.flatten(0, axis - 1)
    return rows.flatten(1)


@rule("Reshape")
def reshape(node: OnnxNode, x: Any, extents: Any, batch: Any = None) -> Any:
    """Args:
    batch: that of the call, where the first of ``extents`` is the batch that the file is fixed to. What is as long
        there as the call's batch stays so.
    """
    node.require(is_numbers(extents), "a shape that is computed")
    extents = listed(extents)
    if is_numbers(x):
        flat = listed(x)
        node.require(len(extents) < 2, f"sizes in the shape {extents}")
        return flat if extents else flat[0]
    if not node.get("allowzero", 0):
        node.require(len(extents) <= x.dim() or 0 not in extents[x.dim() :], f"the shape {extents} of what has fewer")
        extents = [x.shape[i] if fixed([e]) and e == 0 else e for i, e in enumerate(extents)]
    if batch is not None and x.dim() and statically_known_true(x.shape[0] == batch):
        extents[0] = batch
    return x.reshape(extents)


@rule("Transpose")
def transpose(node: OnnxNode, x: Any) -> Any:
    if is_numbers(x):
        return x
    return x.permute(node.get("perm") or list(reversed(range(x.dim()))))


@rule("Expand")
def expand(node: OnnxNode, x: Tensor, extents: Any) -> Tensor:
    node.require(isinstance(x, Tensor) and is_numbers(extents), "a shape that is computed, or sizes that are expanded")
    extents = listed(extents)
    rank = max(x.dim(), len(extents))
    own, wanted = ([1] * (rank - len(s)) + list(s) for s in (x.shape, extents))
    # Either is repeated along the other.
    return x.expand([o if fixed([w]) and w == 1 else w for o, w in zip(own, wanted, strict=True)])


def _axes(node: OnnxNode, axes: Any) -> list[int] | None:
    """Those of the input from opset 13 on, of the attribute before."""
    axes = node.get("axes") if node.opset < 13 else axes
    node.require(axes is None or (is_numbers(axes) and fixed(listed(axes))), "axes that are computed")
    return None if axes is None else listed(axes)


@rule("Squeeze")
def squeeze(node: OnnxNode, x: Any, axes: Any = None) -> Any:
    dims = _axes(node, axes)
    if is_numbers(x):
        return x[0] if isinstance(x, list | tuple) and len(x) == 1 else x
    if dims is None:
        dims = [i for i, s in enumerate(x.shape) if fixed([s]) and s == 1]
    for dim in dims:
        node.require(fixed([x.shape[dim]]) and x.shape[dim] == 1, f"axis {dim} of size {x.shape[dim]}")
    return x.squeeze(dims)


@rule("Unsqueeze")
def unsqueeze(node: OnnxNode, x: Any, axes: Any = None) -> Any:
    dims = _axes(node, axes)
    node.require(dims is not None, "no axes")
    assert dims is not None
    if is_numbers(x):
        if not isinstance(x, list | tuple) and len(dims) == 1:
            return [x]
        node.require(fixed(listed(x)), "sizes in more than one dimension")
        x = torch.tensor(x, device="cpu")
    rank = x.dim() + len(dims)
    for dim in sorted(d % rank for d in dims):
        x = x.unsqueeze(dim)
    return x


@rule("Concat")
def concat(node: OnnxNode, *parts: Any) -> Any:
    tensor = next((p for p in parts if isinstance(p, Tensor)), None)
    if tensor is None:
        return [n for part in parts for n in listed(part)]
    return torch.cat([tensor_like(p, tensor) for p in parts], node.get("axis"))


@rule("Split")
def split(node: OnnxNode, x: Any, sizes: Any = None) -> Any:
    axis = node.get("axis", 0)
    sizes = node.get("split") if node.opset < 13 else sizes
    node.require(sizes is None or is_numbers(sizes), "sizes that are computed")
    length = len(x) if is_numbers(x) else x.shape[axis]
    if sizes is None:
        node.require(fixed([length]), "a split of the batch")
        count = node.get("num_outputs", node.outputs)
        step = -(-length // count)
        node.require(node.opset >= 18 or step * count == length, f"{length} in {count} equal parts")
        sizes = [step] * (count - 1) + [length - step * (count - 1)]
    sizes = listed(sizes)
    if is_numbers(x):
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        return [x[start : start + s] for start, s in zip(starts, sizes, strict=True)]
    node.require(not fixed([length]) or math.fsum(sizes) == length, f"{length} in parts of {sizes}")
    return x.split(sizes, axis)
