"""MaxPool, AveragePool and the global ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from inception_fast.artefacts.onnx.node import OnnxNode, rule
from inception_fast.artefacts.onnx.operators.windows import Windows, windows_of

_MAX = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
_AVERAGE = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)


def _fits_torch(windows: Windows) -> bool:
    """Whether PyTorch takes the padding: the same before and behind, and at most half a window."""
    halves = all(2 * b <= k for b, k in zip(windows.begin, windows.kernel, strict=True))
    return windows.begin == windows.end and halves


@rule("MaxPool")
def max_pool(node: OnnxNode, x: Tensor) -> Tensor:
    windows = windows_of(node, x, node.get("kernel_shape"))
    pool = _MAX[len(windows.kernel) - 1]
    if _fits_torch(windows):
        ceil = any(windows.beyond)
        return pool(x, windows.kernel, windows.strides, windows.begin, windows.dilations, ceil_mode=ceil)
    lowest = -torch.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
    padded = F.pad(x, windows.pads(beyond=True), value=lowest)
    return pool(padded, windows.kernel, windows.strides, 0, windows.dilations)


@rule("AveragePool")
def average_pool(node: OnnxNode, x: Tensor) -> Tensor:
    windows = windows_of(node, x, node.get("kernel_shape"))
    node.require(set(windows.dilations) == {1}, "an average over dilated windows")
    pool, counted = _AVERAGE[len(windows.kernel) - 1], bool(node.get("count_include_pad", 0))
    if _fits_torch(windows):
        return pool(x, windows.kernel, windows.strides, windows.begin, any(windows.beyond), counted)
    # The share of each window that counts; what lies beyond the padding never does.
    ones = torch.ones_like(x[:1, :1])
    pads, none = windows.pads(beyond=False), Windows(*[windows.kernel, windows.strides], *[(0,)] * 4)
    ones = F.pad(F.pad(ones, pads, value=float(counted)), _beyond(windows))
    padded = F.pad(x, windows.pads(beyond=True))
    return pool(padded, none.kernel, none.strides) / pool(ones, none.kernel, none.strides)


def _beyond(windows: Windows) -> list[int]:
    return [p for b in reversed(windows.beyond) for p in (0, b)]


@rule("GlobalAveragePool")
def global_average_pool(node: OnnxNode, x: Tensor) -> Tensor:
    return x.mean(list(range(2, x.dim())), keepdim=True)


@rule("GlobalMaxPool")
def global_max_pool(node: OnnxNode, x: Tensor) -> Tensor:
    return x.amax(list(range(2, x.dim())), keepdim=True)
