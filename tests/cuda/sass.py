"""Machine code as cuobjdump lists it, and the loops in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(?:@(!?U?P[0-9T]+)\s+)?([A-Z][\w.]*)\s*([^;]*);", re.MULTILINE)
_FUNCTION = re.compile(r"^\s*Function : (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Instruction:
    """``@!P0 LDG.E.128 R4, [R2.64]`` is name ``LDG.E.128``, predicate ``!P0``, operands ``R4, [R2.64]``."""

    address: int
    predicate: str
    name: str
    operands: str

    @property
    def target(self) -> int | None:
        """Where a direct branch goes."""
        found = re.search(r"(0x[0-9a-f]+)$", self.operands.strip()) if self.name.split(".")[0] == "BRA" else None
        return int(found[1], 16) if found else None


class Loop(tuple[Instruction, ...]):
    """Its instructions, from the target of the backward branch to the branch."""

    def count(self, *prefixes: str) -> int:  # type: ignore[override]
        """Instructions whose names begin so, up to a whole word: ``LDG`` is not ``LDGSTS``."""
        pattern = re.compile(rf"(?:{'|'.join(map(re.escape, prefixes))})(?![A-Z0-9])")
        return sum(1 for instruction in self if pattern.match(instruction.name))


def functions(listing: str) -> dict[str, list[Instruction]]:
    """The instructions of each function, by mangled name."""
    pieces = _FUNCTION.split(listing)
    return {name: list(_instructions(body)) for name, body in zip(pieces[1::2], pieces[2::2], strict=True)}


def _instructions(body: str) -> Iterator[Instruction]:
    for address, predicate, name, operands in _LINE.findall(body):
        yield Instruction(int(address, 16), predicate, name, operands)


def innermost_loops(code: list[Instruction]) -> list[Loop]:
    """Those that have no other within. A branch to itself, which pads the end of a function, is none."""
    ends: dict[int, int] = {}
    for instruction in code:
        target = instruction.target
        if target is not None and target < instruction.address:
            ends[target] = max(ends.get(target, 0), instruction.address)
    ranges = list(ends.items())
    inner = [r for r in ranges if not any(o != r and r[0] <= o[0] and o[1] <= r[1] for o in ranges)]
    return [Loop(i for i in code if begin <= i.address <= end) for begin, end in sorted(inner)]
