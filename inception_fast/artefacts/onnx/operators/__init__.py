"""What each ONNX operator does, in PyTorch's operators. The rules differ by opset where the standard does."""

from inception_fast.artefacts.onnx.node import RULES
from inception_fast.artefacts.onnx.operators import (
    convolution,
    linear,
    padding,
    pointwise,
    pooling,
    reductions,
    resizing,
    selection,
    shapes,
    views,
)

__all__ = [
    "RULES",
    "convolution",
    "linear",
    "padding",
    "pointwise",
    "pooling",
    "reductions",
    "resizing",
    "selection",
    "shapes",
    "views",
]
