"""What ``swap`` has done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from inception_fast.partition.report import PartitionReport
from inception_fast.report import Report


@dataclass(frozen=True)
class Replaced:
    """A module that runs on fast kernels now, or parts of which do.

    Attributes:
        path: ``''`` for the model itself.
        kind: ``ConvBNReLU``, ``FactorizedConv``, ``InceptionBlock``, ``ResidualBlock`` or ``Network`` where all of it
            is one engine; ``Parts`` where there are engines and PyTorch's operators between them.
        reports: what was fused in it, for each kind of call in the example.
    """

    path: str
    kind: str
    reports: tuple[Report | PartitionReport, ...]

    def __str__(self) -> str:
        first = self.reports[0]
        if isinstance(first, PartitionReport):
            what = str(first).partition("\n")[0]
        else:
            what = ", ".join(f"{count} {kind}" for kind, count in first.steps.items())
        return f"{self.path or 'the model'}: {self.kind}, {what}"


@dataclass(frozen=True)
class LeftAlone:
    """A module with convolutions that stays as it was; parts of it may have been replaced."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path or 'the model'}: {self.reason}"


@dataclass(frozen=True)
class SwapReport:
    """Returned by :func:`inception_fast.swap`."""

    replaced: tuple[Replaced, ...]
    left_alone: tuple[LeftAlone, ...]
    _undo: Callable[[], None] = field(repr=False, compare=False)

    def undo(self) -> None:
        """Makes the model what it was before, with the weights that it has now; for training it, for example. Parts
        that were replaced by others since stay.
        """
        self._undo()

    def __str__(self) -> str:
        counts = ", ".join(f"{n} {kind}" for kind, n in Counter(r.kind for r in self.replaced).items())
        lines = [f"replaced: {counts or 'nothing'}", *(f"    {r}" for r in self.replaced)]
        return "\n".join([*lines, "left alone:", *(f"    {r}" for r in self.left_alone)])
