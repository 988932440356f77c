"""Whether a region gains by being an engine.

An engine costs a call, and what enters and leaves changes its layout. What it saves is time for each operator, which
passes fuse, and a share of the arithmetic. ``benchmarks/islands.py`` compares this with what is measured; where the two
differ, the model errs towards PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from torch import Tensor, fx
from torch.fx.experimental.symbolic_shapes import is_concrete_int

CALL = 30e-6
"""Seconds that a call of an engine takes besides its work."""
OPERATOR = 8e-6
"""Seconds that an operator costs besides its work, which an engine saves."""
MULTIPLY_ADDS = 70e9
"""A second, by PyTorch on one core."""
SAVED = 0.25
"""The share of the arithmetic's time that an engine saves; more where several convolutions follow each other."""
ELEMENTS = 0.5e9
"""A second, that enter or leave an engine."""
FUSED = 1e9
"""Elements a second, of the results of PyTorch's operators that are no arithmetic; an engine hardly has any."""


@dataclass(frozen=True)
class Work:
    """What a region does for one image, or for the batch where that is fixed.

    Attributes:
        elements: that enter and leave.
        fused: elements of what operators without much arithmetic give.
    """

    operators: int
    convolutions: int
    multiply_adds: int
    elements: int
    fused: int

    @property
    def gain(self) -> float:
        """Seconds that an engine saves, by the model; negative where it loses."""
        arithmetic = SAVED * self.multiply_adds / MULTIPLY_ADDS
        return arithmetic + OPERATOR * self.operators + self.fused / FUSED - CALL - self.elements / ELEMENTS


def work_of(entry: fx.Node, members: Iterable[fx.Node]) -> Work:
    """The work of operators that follow from one tensor of images."""
    inside = set(members)
    convolutions = [n for n in inside if "conv" in str(n.target)]
    layers = [*convolutions, *(n for n in inside if "linear" in str(n.target))]
    ends = [n for n in inside if not inside.issuperset(n.users)]
    return Work(
        operators=len(inside),
        convolutions=len(convolutions),
        multiply_adds=sum(map(_multiply_adds, layers)),
        elements=elements_of(entry) + sum(map(elements_of, ends)),
        fused=sum(elements_of(n) for n in inside.difference(layers)),
    )


def objection(work: Work) -> str | None:
    """Why a region would not gain; None where it does."""
    if not work.convolutions:
        return "there is no convolution to make faster"
    if work.gain <= 0:
        return (
            f"{work.multiply_adds / 1e6:.3g} million multiply-adds in {work.operators} operators are too few: the call "
            f"of an engine would cost more than it saves"
        )
    return None


def elements_of(node: fx.Node) -> int:
    """Of a node's value, for one image or a fixed batch; 0 where it is no tensor."""
    value = node.meta.get("val")
    if not isinstance(value, Tensor):
        return 0
    return prod(int(s) if is_concrete_int(s) else 1 for s in value.shape)


def _multiply_adds(node: fx.Node) -> int:
    """Of a convolution or a linear layer."""
    weight = node.args[1] if len(node.args) > 1 else None
    value = weight.meta.get("val") if isinstance(weight, fx.Node) else None
    if not isinstance(value, Tensor) or not value.shape[0]:
        return 0
    return elements_of(node) * (value.numel() // value.shape[0])
