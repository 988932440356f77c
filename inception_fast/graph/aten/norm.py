"""L2 normalisation, which several operators make up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from inception_fast.graph import ir
from inception_fast.graph.aten.rule import data, require, rule
from inception_fast.graph.builder import Builder, Data, Place, Symbolic


@dataclass(frozen=True)
class Norm(Symbolic):
    """``max(||x||, eps)`` over channels, seen as ``shape``; it makes sense only as the divisor of ``x``."""

    x: Data
    eps: float
    shape: ir.Shape

    def __str__(self) -> str:
        return "a norm, which may only divide the tensor that it was taken of"

    def dividing(self, b: Builder, place: Place, x: Any) -> Data:
        """``x`` divided by it."""
        source = data(x)
        require(source.same_as(self.x), "a norm may only divide the tensor that it was taken of")
        require(self.shape in (source.shape, (1, *source.shape[1:])), "the norm does not line up with the channels")
        return replace(b.emit(ir.Normalize(self.eps), [b.settle(source)], place), shape=source.shape)


@rule("linalg_vector_norm.default")
def vector_norm(
    b: Builder, place: Place, x: Any, order: float, dims: Sequence[int] | None, keepdim: bool, dtype: Any
) -> Norm:
    source = data(x)
    rank = len(source.shape) + 1
    require(order == 2, f"only the L2 norm is supported, not order {order}")
    over_channels = dims is not None and [d % rank for d in dims] == [1] and source.has_channels_first
    require(over_channels, "only the norm over the channels is supported")
    return Norm(source, 0.0, ((1,) if keepdim else ()) + source.shape[1:])
