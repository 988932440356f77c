"""What runs where in a partitioned model, for people and for programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from inception_fast.report import Report


@dataclass(frozen=True)
class Island:
    """A region that is an engine.

    Attributes:
        name: of its engine.
        modules: paths of the first and the last module in it.
        reads: where its images come from, with their shape.
        operators, convolutions: how many of PyTorch's it replaces.
        multiply_adds: of one image, or of the batch where that is fixed.
        report: of its engine.
    """

    name: str
    modules: tuple[str, str]
    reads: str
    operators: int
    convolutions: int
    multiply_adds: int
    report: Report | None = None

    def __str__(self) -> str:
        first, last = self.modules
        span = f"{first or 'the model'} to {last or 'the model'}" if first != last else first or "the model"
        return (
            f"{self.name}: {span}, {self.operators} operators ({self.convolutions} convolutions, "
            f"{self.multiply_adds / 1e6:.4g} million multiply-adds an image), on {self.reads}"
        )


@dataclass(frozen=True)
class Foreign:
    """An operator that PyTorch runs.

    Attributes:
        module: path of the module that calls it, ``''`` for the model itself.
        source: ``file:line``, ``''`` where PyTorch recorded none.
        elements: read and written for one image, or a fixed batch, by shapes: what it costs where it is not arithmetic.
        reason: why no engine has it.
    """

    op: str
    module: str
    source: str
    elements: int
    reason: str

    def __str__(self) -> str:
        where = f" in '{self.module}'" if self.module else ""
        line = f" at {self.source}" if self.source else ""
        return f"{self.op}{where}{line}: {self.elements:,} elements; {self.reason}"


@dataclass(frozen=True)
class PartitionReport:
    """Returned by ``PartitionedModel.report()``.

    Attributes:
        batch: what of the arguments may vary.
    """

    precision: str
    batch: str
    islands: tuple[Island, ...]
    foreign: tuple[Foreign, ...]

    @property
    def operators(self) -> dict[str, int]:
        """How many of PyTorch's operators of each kind are left."""
        return dict(Counter(f.op for f in self.foreign))

    @property
    def takes_any_batch(self) -> bool:
        return self.batch.startswith("any ")

    def __str__(self) -> str:
        taken = sum(i.operators for i in self.islands)
        plural = "" if len(self.islands) == 1 else "s"
        head = (
            f"{len(self.islands)} island{plural} of {taken} operators in precision {self.precision}, "
            f"{len(self.foreign)} operators of PyTorch's between; {self.batch}"
        )
        lines = [head]
        for island in self.islands:
            lines.append(str(island))
            if island.report:
                lines += [f"    {line}" for line in str(island.report).splitlines()]
        lines.append("PyTorch's:" if self.foreign else "nothing is PyTorch's")
        return "\n".join([*lines, *(f"    {f}" for f in self.foreign)])
