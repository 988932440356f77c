"""A Graph as one function in jax.lax: activations NHWC, kernels HWIO, the weights constants of the function.

XLA lays constants out as its convolutions want them, and a call has no weights to pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from inception_fast.graph import ir
from inception_fast.graph.shapes import pool_extent

LAYOUT = ("NHWC", "HWIO", "NHWC")
Constants = Mapping[str, np.ndarray]


def forward(graph: ir.Graph, dtype: Any, precision: lax.Precision) -> Callable[[jax.Array], list[jax.Array]]:
    """The network as a function to be jitted.

    Args:
        dtype: of images, weights and outputs.
        precision: of products of float32.

    Returns:
        A function of images ``[N, H, W, C]``; it returns the outputs, ``[N, H, W, C]`` or ``[N, C]``, and raises
        NotImplementedError with the name of a kind of op that has no translation.
    """
    constants = {name: value.double().numpy().astype(dtype) for name, value in graph.params.items()}

    def run(images: jax.Array) -> list[jax.Array]:
        values = {graph.input.name: images}
        for node in graph.nodes[1:]:
            values[node.name] = apply_op(node.op, [values[name] for name in node.inputs], constants, precision)
        return [values[name] for name in graph.outputs]

    return run


def apply_op(op: ir.Op, inputs: Sequence[jax.Array], constants: Constants, precision: lax.Precision) -> jax.Array:
    """``op`` applied to NHWC or flat arrays of one dtype; averages and norms are taken in float32."""
    x = inputs[0]
    _refuse_what_has_no_translation(op, x.shape)
    match op:
        case ir.Conv2d():
            return _conv(op, inputs, constants, precision)
        case ir.ConvPair():
            middle = _conv(op.first, [x], constants, precision)
            return _conv(op.second, [middle, *inputs[1:]], constants, precision)
        case ir.Slice():
            return x[..., op.start : op.start + op.channels]
        case ir.Affine():
            return _act(x * constants[op.scale] + constants[op.shift], op.relu)
        case ir.ReLU():
            return _act(x, True)
        case ir.Add():
            return _act(x + inputs[1], op.relu)
        case ir.Concat():
            return jnp.concatenate(inputs, axis=-1)
        case ir.Copy():
            return x
        case ir.MaxPool():
            lowest = np.array(-np.inf, x.dtype)
            return _reduce_windows(x, lowest, lax.max, op, op.dilation)
        case ir.AvgPool():
            total = _reduce_windows(x.astype(np.float32), np.float32(0), lax.add, op)
            return _biased(total / window_counts(op, x.shape[1:3]), op.bias, op.relu, constants, x.dtype)
        case ir.AdaptiveAvgPool():
            batch, height, width, channels = x.shape
            cells = x.reshape(batch, op.size[0], height // op.size[0], op.size[1], width // op.size[1], channels)
            return cells.mean((2, 4), dtype=np.float32).astype(x.dtype)
        case ir.Flatten():
            return x if x.ndim == 2 else x.transpose(0, 3, 1, 2).reshape(len(x), -1)
        case ir.Linear():
            out = jnp.matmul(x, constants[op.weight].T, precision=precision)
            return _biased(out, op.bias, op.relu, constants, x.dtype)
        case ir.Resize():
            rows, columns = (interpolation(x.shape[1 + i], op.size[i], op.align_corners) for i in (0, 1))
            exact = lax.Precision.HIGHEST
            return jnp.einsum("nhwc,yh,xw->nyxc", x.astype(np.float32), rows, columns, precision=exact).astype(x.dtype)
        case ir.Normalize():
            wide = x.astype(np.float32)
            norm = jnp.sqrt(jnp.sum(wide * wide, axis=-1, keepdims=True))
            return (wide / jnp.maximum(norm, op.eps)).astype(x.dtype)
        case _:
            raise NotImplementedError(f"no translation of {op.kind}")


def _refuse_what_has_no_translation(op: ir.Op, shape: Sequence[int]) -> None:
    """Of ops that are translated otherwise."""
    for part in (*getattr(op, "segments", ()), op):
        activation = getattr(part, "activation", None)
        if activation is not None and not isinstance(op, ir.Activate):
            raise NotImplementedError(f"no translation of {op.kind} with {activation.function}")
    match op:
        case ir.MaxPool(outside=outside) if any(outside):
            raise NotImplementedError("no translation of MaxPool with minus infinity outside")
        case ir.AdaptiveAvgPool(size=size) if shape[1] % size[0] or shape[2] % size[1]:
            raise NotImplementedError("no translation of AdaptiveAvgPool with windows of several sizes")


def _conv(op: ir.Conv2d, inputs: Sequence[jax.Array], constants: Constants, precision: lax.Precision) -> jax.Array:
    top, left, bottom, right = op.padding
    kernel = constants[op.weight].transpose(2, 3, 1, 0)
    padding = ((top, bottom), (left, right))
    out = lax.conv_general_dilated(
        inputs[0], kernel, op.stride, padding, rhs_dilation=op.dilation, dimension_numbers=LAYOUT, precision=precision
    )
    if op.bias is not None:
        out += constants[op.bias]
    if len(inputs) > 1:
        out += inputs[1]
    if len(op.segments) == 1:
        return _act(out, op.segments[0].relu)
    ends = np.cumsum([s.channels for s in op.segments])
    parts = jnp.split(out, ends[:-1], axis=-1)
    return jnp.concatenate([_act(part, s.relu) for part, s in zip(parts, op.segments, strict=True)], axis=-1)


def _act(x: jax.Array, relu: bool) -> jax.Array:
    return jnp.maximum(x, 0) if relu else x


def _biased(x: jax.Array, bias: str | None, relu: bool, constants: Constants, dtype: Any) -> jax.Array:
    return _act(x if bias is None else x + constants[bias], relu).astype(dtype)


def _reduce_windows(
    x: jax.Array, init: Any, combine: Any, op: ir.MaxPool | ir.AvgPool, dilation: ir.Pair = (1, 1)
) -> jax.Array:
    """A pool's windows, each combined to a value; the image is padded so that floor division gives the pool's size."""
    padding = [(0, 0)]
    for i in (0, 1):
        size = x.shape[1 + i]
        out = pool_extent(size, op.kernel[i], op.stride[i], op.padding[i], op.ceil_mode, dilation[i])
        reach = (out - 1) * op.stride[i] + dilation[i] * (op.kernel[i] - 1) + 1
        padding.append((op.padding[i], max(0, reach - size - op.padding[i])))
    padding.append((0, 0))
    window, strides, spread = ((1, *pair, 1) for pair in (op.kernel, op.stride, dilation))
    return lax.reduce_window(x, init, combine, window, strides, padding, window_dilation=spread)


def window_counts(op: ir.AvgPool, size: Sequence[int]) -> np.ndarray:
    """The divisor of every window, ``[H, W, 1]`` float32: its pixels inside the image, or inside its padding too."""
    axes = []
    for i in (0, 1):
        out = pool_extent(size[i], op.kernel[i], op.stride[i], op.padding[i], op.ceil_mode)
        begin = np.arange(out) * op.stride[i] - op.padding[i]
        border = op.padding[i] if op.count_include_pad else 0
        axes.append(np.minimum(begin + op.kernel[i], size[i] + border) - np.maximum(begin, -border))
    return np.multiply.outer(axes[0], axes[1])[..., None].astype(np.float32)


def interpolation(size: int, out: int, align_corners: bool) -> np.ndarray:
    """Bilinear weights ``[out, size]`` float32 along an axis, without antialiasing, as PyTorch defines them."""
    if align_corners:
        centers = np.arange(out) * ((size - 1) / max(out - 1, 1))
    else:
        centers = (np.arange(out) + 0.5) * (size / out) - 0.5
    distance = np.abs(centers.clip(0, size - 1)[:, None] - np.arange(size))
    return np.maximum(1 - distance, 0).astype(np.float32)
