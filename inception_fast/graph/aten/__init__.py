"""What each ATen op becomes in a Graph: one function per op, found by the op's name in :data:`RULES`."""

from inception_fast.graph.aten import (
    activation,
    convolution,
    gate,
    linear,
    local_response,
    norm,
    pointwise,
    pooling,
    softmax,
    views,
)
from inception_fast.graph.aten.rule import ANY_ORDER, RULES

__all__ = [
    "ANY_ORDER",
    "RULES",
    "activation",
    "convolution",
    "gate",
    "linear",
    "local_response",
    "norm",
    "pointwise",
    "pooling",
    "softmax",
    "views",
]
