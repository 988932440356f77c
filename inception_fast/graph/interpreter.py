"""Runs a Graph one node at a time with PyTorch's own operators, in any dtype: the slow readable truth."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
import torch.nn.functional as F
from typing_extensions import assert_never

from inception_fast.activation import activate
from inception_fast.errors import InputError
from inception_fast.graph import ir


@torch.no_grad()
def interpret(
    graph: ir.Graph,
    x: torch.Tensor,
    dtype: torch.dtype = torch.float64,
    *,
    values: Collection[str] | None = None,
) -> list[torch.Tensor]:
    """One forward pass of ``graph``, each value freed after its last use.

    Args:
        graph: what to run.
        x: ``[N, C, H, W]`` of the graph's input shape, any dtype.
        dtype: of the input, the parameters and every operation.
        values: names of the values to return; None means the graph's outputs.

    Returns:
        The values asked for, in order, each ``[N, C, H, W]`` or ``[N, C]`` in ``dtype``.

    Raises:
        InputError: ``x`` does not have the graph's input shape, or a name in ``values`` is not a value of the graph.
    """
    assert isinstance(graph.input.op, ir.Input)
    if tuple(x.shape[1:]) != graph.input.op.shape:
        raise InputError("x", tuple(x.shape), ("N", *graph.input.op.shape))
    wanted = tuple(graph.outputs if values is None else values)
    for name in wanted:
        if name not in graph.by_name:
            raise InputError("values", name, "the name of a value in the graph")

    params = {name: tensor.detach().to(dtype) for name, tensor in graph.params.items()}
    last_reader = {value: node.name for node in graph.nodes for value in node.inputs}
    live: dict[str, torch.Tensor] = {}
    for node in graph.nodes:
        if isinstance(node.op, ir.Input):
            live[node.name] = x.to(dtype)
        else:
            live[node.name] = apply_op(node.op, [live[i] for i in node.inputs], params)
        for value in {node.name, *node.inputs}:
            if last_reader.get(value, node.name) == node.name and value not in wanted:
                del live[value]
    return [live[name] for name in wanted]


def apply_op(op: ir.Operation, inputs: list[torch.Tensor], params: dict[str, torch.Tensor]) -> torch.Tensor:
    """``op`` applied to tensors with the batch in front; ``params`` have the tensors' dtype."""
    x = inputs[0]
    match op:
        case ir.Conv2d():
            return _conv(op, inputs, params)
        case ir.ConvPair():
            return _conv(op.second, [_conv(op.first, [x], params), *inputs[1:]], params)
        case ir.DepthwiseConv2d():
            return _activated(_convolved(op, x, params, len(params[op.weight])), op, params)
        case ir.Slice():
            return x.narrow(1, op.start, op.channels)
        case ir.Select():
            return x[:, list(op.channels)]
        case ir.BatchNorm():
            weight, bias = _optional(op.weight, params), _optional(op.bias, params)
            return F.batch_norm(x, params[op.mean], params[op.var], weight, bias, training=False, eps=op.eps)
        case ir.Affine():
            return _activated(x * _per_channel(params[op.scale], x) + _per_channel(params[op.shift], x), op, params)
        case ir.ReLU():
            return F.relu(x)
        case ir.Activate():
            return activate(x, op.activation, params)
        case ir.Gate():
            # A vector is an image of one pixel.
            gate = inputs[1].view(*inputs[1].shape[:2], *(inputs[1].shape[2:] or (1, 1)))
            return x * (gate if x.dim() == 4 else gate.flatten(1))
        case ir.Softmax():
            return F.log_softmax(x, dim=1) if op.log else F.softmax(x, dim=1)
        case ir.LocalResponseNorm():
            # PyTorch's is not there for half precision on a CPU.
            wide = x if x.dtype == torch.float64 else x.float()
            return F.local_response_norm(wide, op.size, op.alpha, op.beta, op.k).to(x.dtype)
        case ir.Add():
            return _activated(x + inputs[1], op, params)
        case ir.Concat():
            return torch.cat(inputs, dim=1)
        case ir.Copy():
            return x.clone()
        case ir.Pad():
            top, left, bottom, right = op.padding
            if op.scale is not None and op.shift is not None:
                x = x * _per_channel(params[op.scale], x) + _per_channel(params[op.shift], x)
            return F.pad(x, (left, right, top, bottom), value=op.value)
        case ir.MaxPool():
            top, left, bottom, right = op.outside
            if any(op.outside):
                x = F.pad(x, (left, right, top, bottom), value=-math.inf)
            return F.max_pool2d(x, op.kernel, op.stride, op.padding, op.dilation, op.ceil_mode)
        case ir.AvgPool():
            pooled = F.avg_pool2d(x, op.kernel, op.stride, op.padding, op.ceil_mode, op.count_include_pad)
            return _act(pooled if op.bias is None else pooled + _per_channel(params[op.bias], x), op.relu)
        case ir.AdaptiveAvgPool():
            return F.adaptive_avg_pool2d(x, op.size)
        case ir.AdaptiveMaxPool():
            return F.adaptive_max_pool2d(x, op.size)
        case ir.Flatten():
            return x.flatten(1)
        case ir.Linear():
            return _activated(F.linear(x, params[op.weight], _optional(op.bias, params)), op, params)
        case ir.Resize():
            return F.interpolate(x, op.size, mode="bilinear", align_corners=op.align_corners)
        case ir.Normalize():
            return F.normalize(x, dim=1, eps=op.eps)
        case ir.Input():
            raise NotImplementedError("an input has its value already")
        case _:
            assert_never(op)


def _conv(op: ir.Conv2d, inputs: list[torch.Tensor], params: dict[str, torch.Tensor]) -> torch.Tensor:
    out = _convolved(op, inputs[0], params)
    if len(inputs) > 1:
        out = out + inputs[1]
    return activated_segments(out, op, params)


def activated_segments(sums: torch.Tensor, op: ir.Conv2d, params: dict[str, torch.Tensor]) -> torch.Tensor:
    """A convolution's value, from its sums ``[N, C, H, W]``."""
    parts = sums.split([s.channels for s in op.segments], dim=1)
    return torch.cat([_activated(part, s, params) for part, s in zip(parts, op.segments, strict=True)], dim=1)


def _convolved(
    op: ir.Conv2d | ir.DepthwiseConv2d, x: torch.Tensor, params: dict[str, torch.Tensor], groups: int = 1
) -> torch.Tensor:
    top, left, bottom, right = op.padding
    bias = _optional(op.bias, params)
    return F.conv2d(F.pad(x, (left, right, top, bottom)), params[op.weight], bias, op.stride, 0, op.dilation, groups)


def _act(x: torch.Tensor, relu: bool) -> torch.Tensor:
    return F.relu(x) if relu else x


def _activated(x: torch.Tensor, op: ir.Activated, params: dict[str, torch.Tensor]) -> torch.Tensor:
    return _act(x, op.relu) if op.activation is None else activate(x, op.activation, params)


def _optional(name: str | None, params: dict[str, torch.Tensor]) -> torch.Tensor | None:
    return None if name is None else params[name]


def _per_channel(param: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return param.view(1, -1, *(1,) * (x.dim() - 2))
