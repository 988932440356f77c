"""What each ATen op becomes in a Graph: one function per op, found by the op's name in :data:`RULES`."""

from inception_fast.graph.aten import convolution, linear, pointwise, pooling, views
from inception_fast.graph.aten.rule import RULES

__all__ = ["RULES", "convolution", "linear", "pointwise", "pooling", "views"]
