"""What a visit is made of, and what may become of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

HELD, FAILED, STOPPED, SKIPPED, NO_TIME = "held", "failed", "stopped", "skipped", "no time left"
"""Outcomes of a case and of a part: it did what it should; it did not; it took too long, or the visit was ended; it
cannot be done here, for a reason that is given; there was no time to begin it.
"""


@dataclass(frozen=True)
class Part:
    """One process: ``python -m MODULE``; see :mod:`benchmarks.gpu.worker` for what it is told and what it reports.

    Attributes:
        name: in the journal.
        what: it does, in a few words.
        seconds: after which it is stopped.
        alongside: starts with the part before it, not after it. Never beside a part that takes time on a GPU.
        after: a part alongside that must have ended before this one starts.
        nice: how far it stands back for the parts beside it.
        module: by default the part's own in ``benchmarks.gpu.parts``.
        arguments: for the module.
    """

    name: str
    what: str
    seconds: float
    alongside: bool = False
    after: str = ""
    nice: int = 0
    module: str = ""
    arguments: tuple[str, ...] = ()

    @property
    def program(self) -> str:
        return self.module or f"benchmarks.gpu.parts.{self.name}"


@dataclass(frozen=True)
class Entry:
    """What became of a part.

    Attributes:
        seconds: that it took.
        reason: why it is not held, else ''.
    """

    part: str
    outcome: str
    seconds: float
    reason: str = ""


def phases(parts: Iterable[Part]) -> list[list[Part]]:
    """Parts that run together, in order."""
    found: list[list[Part]] = []
    for part in parts:
        if part.alongside and found:
            found[-1].append(part)
        else:
            found.append([part])
    return found
