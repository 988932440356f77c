"""Conv."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from inception_fast.artefacts.onnx.node import OnnxNode, rule
from inception_fast.artefacts.onnx.operators.windows import windows_of


@rule("Conv")
def conv(node: OnnxNode, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    windows = windows_of(node, x, node.get("kernel_shape") or weight.shape[2:])
    node.require(windows.kernel == tuple(weight.shape[2:]), "a kernel_shape that is not the weights'")
    padding: Any = windows.begin
    if not windows.symmetric:
        x, padding = F.pad(x, windows.pads(beyond=False)), 0
    function = (F.conv1d, F.conv2d, F.conv3d)[len(windows.kernel) - 1]
    return function(x, weight, bias, windows.strides, padding, windows.dilations, node.get("group", 1))
