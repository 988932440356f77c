"""Local response normalisation, as ``torch.nn.functional.local_response_norm`` writes it: squares of the tensor, padded
and averaged over neighbouring channels by a pool of three dimensions, then ``x / (mean * alpha + k) ** beta``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from inception_fast.activation import Activation
from inception_fast.graph import ir
from inception_fast.graph.aten.rule import data, require, rule
from inception_fast.graph.builder import Builder, CannotExpress, Data, Place, Symbolic

SQUARE = ir.Activate(Activation("power", 2.0))


@dataclass(frozen=True)
class Neighbours(Symbolic):
    """Squares of the value named ``of``, with zeros in front of the first channel and behind the last."""

    of: str
    shape: ir.Shape
    before: int
    after: int

    def __str__(self) -> str:
        return "a tensor padded along its channels, which only a local response norm is"


@dataclass(frozen=True)
class LocalMean(Symbolic):
    """``(alpha * mean + k) ** beta``, the mean over ``size`` neighbouring channels of the squares of ``of``; seen as
    ``shape``.
    """

    of: str
    shape: ir.Shape
    size: int
    alpha: float = 1.0
    k: float = 0.0
    beta: float | None = None

    def __str__(self) -> str:
        return "a mean over neighbouring channels, which may only normalise its own tensor"

    def plus(self, factor: float, term: float) -> LocalMean:
        """``factor * mean + term``."""
        require(self.beta is None, str(self))
        return replace(self, alpha=self.alpha * factor, k=self.k * factor + term)

    def to_the(self, exponent: float) -> LocalMean:
        require(self.beta is None, str(self))
        return replace(self, beta=exponent)

    def dividing(self, b: Builder, place: Place, x: Any) -> Data:
        """``x`` divided by it."""
        source = data(x)
        require(b.settle(source) == self.of and self.shape == source.shape, str(self))
        beta = 1.0 if self.beta is None else self.beta
        op = ir.LocalResponseNorm(self.size, self.alpha, beta, self.k)
        return replace(b.emit(op, [self.of], place), shape=source.shape)


def pad_channels(b: Builder, x: Any, amounts: Sequence[int], value: float | None) -> Neighbours:
    """What padding along the channels gives, which are the third dimension from the end."""
    source = data(x)
    node, along = b.node_of(source), len(amounts) == 6 and not any(amounts[:4]) and not value
    if node is None or node.op != SQUARE or source.shape != (1, *b.natural_shape(source)) or not along:
        raise CannotExpress("only height and width can be padded")
    return Neighbours(node.inputs[0], source.shape, amounts[4], amounts[5])


@rule("avg_pool3d.default")
def avg_pool3d(
    b: Builder,
    place: Place,
    x: Any,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> LocalMean:
    if not isinstance(x, Neighbours):
        raise CannotExpress("only the one in a local response norm is supported")
    size, plain = kernel[0], set(kernel[1:]) == set(stride) == {1} and not any(padding)
    require(plain and divisor_override is None, "the window is no run of channels")
    require((x.before, x.after) == (size // 2, (size - 1) // 2), "its window is not centred")
    return LocalMean(x.of, x.shape, size)
