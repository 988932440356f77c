"""Slice and Gather."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inception_fast.artefacts.onnx.node import OnnxNode, rule
from inception_fast.artefacts.onnx.numbers import fixed, is_numbers, listed, tensor_like


@rule("Slice")
def slice_(node: OnnxNode, x: Any, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None) -> Any:
    if node.opset < 10:
        starts, ends, axes = node.get("starts"), node.get("ends"), node.get("axes")
    given = [v for v in (starts, ends, axes, steps) if v is not None]
    node.require(all(map(is_numbers, given)), "bounds that are computed")
    starts, ends = listed(starts), listed(ends)
    axes = list(range(len(starts))) if axes is None else listed(axes)
    steps = [1] * len(starts) if steps is None else listed(steps)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        node.require(fixed([axis, step]) and step != 0, "axes or steps that depend on the batch")
        x = x[start:end:step] if is_numbers(x) else _sliced(node, x, axis % x.dim(), start, end, step)
    return x


def _sliced(node: OnnxNode, x: Tensor, axis: int, start: Any, end: Any, step: int) -> Tensor:
    if step > 0:
        return x[(slice(None),) * axis + (slice(start, end, step),)]
    node.require(fixed([x.shape[axis], start, end]), "a batch in reverse order")
    places = range(*slice(start, end, step).indices(x.shape[axis]))
    if len(places) == x.shape[axis]:
        return x.flip(axis)
    return x.index_select(axis, torch.tensor(list(places), dtype=torch.int64, device=x.device))


@rule("Gather")
def gather(node: OnnxNode, x: Any, indices: Any) -> Any:
    axis = node.get("axis", 0)
    if is_numbers(x):
        node.require(is_numbers(indices) and fixed(listed(indices)), "sizes at places that are computed")
        return [x[i] for i in indices] if isinstance(indices, list | tuple) else x[indices]
    if isinstance(indices, int):
        return x.select(axis, indices)
    places = tensor_like(indices, x)
    places = torch.where(places < 0, places + x.shape[axis], places)
    if places.dim() == 1:
        return x.index_select(axis, places)
    axis %= x.dim()
    chosen = x.index_select(axis, places.reshape(-1))
    return chosen.reshape([*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]])
