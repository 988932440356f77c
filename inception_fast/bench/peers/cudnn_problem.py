"""A convolution as cuDNN's graph API sees it: tensors by extents and strides, and the fused operations on them.

NVIDIA, "cuDNN documentation", Graph API: convolution, pointwise, and the patterns that engines support.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import torch
import torch.nn.functional as F

from inception_fast.backends.reference import dense_window, window_padding
from inception_fast.plan.plan import Convolution

Pair = tuple[int, int]


class Uid(IntEnum):
    """What a tensor is to the graph, and its name there."""

    IMAGE = 1
    WEIGHT = 2
    BIAS = 3
    RESIDUAL = 4
    OUTPUT = 5


Tensors = dict[Uid, torch.Tensor]


@dataclass(frozen=True)
class Layout:
    """Extents and strides in elements, both in the order N, C, H, W; a slice of a wider buffer has its strides."""

    extents: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def of(cls, view: torch.Tensor) -> Layout:
        return cls(tuple(view.shape), view.stride())


@dataclass(frozen=True)
class Problem:
    """``relu?(conv(image) + residual? + bias)``, written where the output is.

    Attributes:
        before, after: zeros at the beginning and the end of (rows, columns).
    """

    tensors: tuple[tuple[Uid, Layout], ...]
    stride: Pair
    before: Pair
    after: Pair
    relu: bool


def pose(
    conv: Convolution, constants: Mapping[str, torch.Tensor], views: Tensors, relu: bool
) -> tuple[Problem, Tensors]:
    """The problem of one convolution, and its tensors.

    Args:
        constants: of the Plan, on the device of the views.
        views: NCHW views of the image, the output and perhaps the residual, in NHWC memory. The image may have more
            channels than the convolution reads, which then meet weights of zero.
    """
    image, output = views[Uid.IMAGE], views[Uid.OUTPUT]
    window, origin = dense_window(conv, constants[conv.weight])
    source, kernel, size = (plane(tensor) for tensor in (image, window, output))
    top, left, bottom, right = window_padding(conv, origin, kernel, source, size)
    after = []
    for i, (begin, end) in enumerate(((top, bottom), (left, right))):
        # The library rounds a last partial stride down, so equal padding on both sides, which all its kernels know,
        # may give the same result.
        equal = (source[i] + 2 * begin - kernel[i]) // conv.stride[i] + 1 == size[i]
        after.append(begin if equal else max(0, end))
    weight = F.pad(window, (0, 0, 0, 0, 0, image.shape[1] - conv.in_channels))
    bias = weight.new_zeros(conv.out_channels) if conv.bias is None else constants[conv.bias].to(weight.dtype)
    tensors = views | {
        Uid.WEIGHT: dense(weight),
        Uid.BIAS: dense(bias.view(1, -1, 1, 1)),
    }
    layouts = tuple((uid, Layout.of(tensors[uid])) for uid in sorted(tensors))
    return Problem(layouts, conv.stride, (top, left), (after[0], after[1]), relu), tensors


def dense(tensor: torch.Tensor) -> torch.Tensor:
    """A copy in NHWC memory, with NHWC's strides for extents of one too, where PyTorch does not care."""
    return torch.empty_like(tensor, memory_format=torch.channels_last).copy_(tensor)


def plane(tensor: torch.Tensor) -> Pair:
    """(rows, columns) of an NCHW tensor."""
    return tensor.shape[2], tensor.shape[3]


def describe(cudnn: Any, problem: Problem, dtype: torch.dtype, **options: Any) -> Any:
    """The problem as a ``cudnn.pygraph`` with the tensors' Uids, not yet validated.

    Args:
        cudnn: the module.
        dtype: of all tensors; sums are float32.
        options: of the graph: the ``handle``, or a ``device_property``.
    """
    kind = {
        torch.float32: cudnn.data_type.FLOAT,
        torch.float16: cudnn.data_type.HALF,
        torch.bfloat16: cudnn.data_type.BFLOAT16,
    }[dtype]
    wide = cudnn.data_type.FLOAT
    graph = cudnn.pygraph(io_data_type=kind, intermediate_data_type=wide, compute_data_type=wide, **options)
    layouts = dict(problem.tensors)

    def tensor(uid: Uid) -> Any:
        dim, stride = list(layouts[uid].extents), list(layouts[uid].strides)
        return graph.tensor(name=uid.name.lower(), dim=dim, stride=stride, data_type=kind).set_uid(int(uid))

    value = graph.conv_fprop(
        image=tensor(Uid.IMAGE),
        weight=tensor(Uid.WEIGHT),
        pre_padding=list(problem.before),
        post_padding=list(problem.after),
        stride=list(problem.stride),
        dilation=[1, 1],
    )
    # In this order, residual first, the whole is one pattern that has kernels of its own.
    if Uid.RESIDUAL in layouts:
        value = graph.add(a=value, b=tensor(Uid.RESIDUAL))
    value = graph.add(a=value, b=tensor(Uid.BIAS))
    if problem.relu:
        value = graph.relu(input=value)
    value.set_output(True).set_data_type(kind).set_uid(int(Uid.OUTPUT))
    value.set_dim(list(layouts[Uid.OUTPUT].extents)).set_stride(list(layouts[Uid.OUTPUT].strides))
    return graph
