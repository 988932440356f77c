"""Shape of every op's result, per image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from typing_extensions import assert_never

from inception_fast.errors import InputError
from inception_fast.graph import ir


def conv_extent(size: int, kernel: int, stride: int, before: int, after: int, dilation: int) -> int:
    """Number of output pixels along one axis of a convolution."""
    return (size + before + after - dilation * (kernel - 1) - 1) // stride + 1


def pool_extent(size: int, kernel: int, stride: int, padding: int, ceil_mode: bool, dilation: int = 1) -> int:
    """Number of output pixels along one axis of a pooling, by PyTorch's rule.

    In ceil mode the last window must start inside the image or its leading padding (``torch.nn.MaxPool2d``).
    """
    reach = size + 2 * padding - dilation * (kernel - 1) - 1
    out = (reach + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (out - 1) * stride >= size + padding:
        out -= 1
    return out


def conv_shape(op: ir.Conv2d | ir.DepthwiseConv2d, shape: ir.Shape, params: Mapping[str, torch.Tensor]) -> ir.Shape:
    """``(C, H, W)`` of a convolution's result."""
    _, height, width = shape
    kh, kw = params[op.weight].shape[2:]
    top, left, bottom, right = op.padding
    return (
        params[op.weight].shape[0],
        conv_extent(height, kh, op.stride[0], top, bottom, op.dilation[0]),
        conv_extent(width, kw, op.stride[1], left, right, op.dilation[1]),
    )


def _pool(op: ir.MaxPool | ir.AvgPool, shape: ir.Shape) -> ir.Shape:
    dilation, grown = (1, 1), shape[1:]
    if isinstance(op, ir.MaxPool):
        dilation, grown = op.dilation, tuple(shape[1 + i] + op.outside[i] + op.outside[2 + i] for i in (0, 1))
    spatial = (
        pool_extent(grown[i], op.kernel[i], op.stride[i], op.padding[i], op.ceil_mode, dilation[i]) for i in (0, 1)
    )
    return (shape[0], *spatial)


def infer_shape(op: ir.Operation, inputs: list[ir.Shape], params: Mapping[str, torch.Tensor]) -> ir.Shape:
    """Shape of ``op`` applied to values of the given shapes."""
    match op:
        case ir.Input():
            return op.shape
        case ir.Conv2d() | ir.DepthwiseConv2d():
            return conv_shape(op, inputs[0], params)
        case ir.ConvPair():
            return conv_shape(op.second, conv_shape(op.first, inputs[0], params), params)
        case ir.MaxPool() | ir.AvgPool():
            return _pool(op, inputs[0])
        case ir.AdaptiveAvgPool() | ir.AdaptiveMaxPool() | ir.Resize():
            return (inputs[0][0], *op.size)
        case ir.Slice():
            return (op.channels, *inputs[0][1:])
        case ir.Pad():
            top, left, bottom, right = op.padding
            channels, height, width = inputs[0]
            return (channels, top + height + bottom, left + width + right)
        case ir.Select():
            return (len(op.channels), *inputs[0][1:])
        case ir.Concat():
            return (sum(s[0] for s in inputs), *inputs[0][1:])
        case ir.Flatten():
            return (int(torch.Size(inputs[0]).numel()),)
        case ir.Linear():
            return (params[op.weight].shape[0],)
        case ir.BatchNorm() | ir.Affine() | ir.ReLU() | ir.Activate() | ir.Gate() | ir.Softmax() | ir.Add() | ir.Copy():
            return inputs[0]
        case ir.LocalResponseNorm() | ir.Normalize():
            return inputs[0]
        case _:
            assert_never(op)


def infer_shapes(nodes: Iterable[ir.Node], params: Mapping[str, torch.Tensor]) -> dict[str, ir.Shape]:
    """Shapes by value name.

    Raises:
        InputError: the image is too small for the network, a value would have no pixels; or a linear layer over all of
            its pixels wants another one.
    """
    shapes: dict[str, ir.Shape] = {}
    for node in nodes:
        inputs, where = [shapes[i] for i in node.inputs], node.origin or node.name
        if isinstance(node.op, ir.Linear) and inputs[0][0] != (features := params[node.op.weight].shape[1]):
            raise InputError("image size", f"{inputs[0][0]} features at {where}", f"one that gives {features}")
        shape = infer_shape(node.op, inputs, params)
        if min(shape) < 1:
            raise InputError("image size", f"{shape} at {where}", "an image large enough for every layer")
        shapes[node.name] = shape
    return shapes
