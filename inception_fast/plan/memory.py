"""One arena for all intermediate activations, laid out from the buffers' lifetimes.

Greedy by size: the largest buffer first, each at the lowest offset that is free during its whole life. This is the
heuristic of Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020; for Inception
networks it reaches the lower bound (the largest sum of sizes alive at once) or comes within a few per cent of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from inception_fast.plan.plan import ALIGNMENT, Step, destinations_of, sources_of


@dataclass(frozen=True)
class Lifetime:
    """First and last stage, both inclusive, in which a buffer holds something that is needed."""

    first: int
    last: int

    def overlaps(self, other: Lifetime) -> bool:
        return self.first <= other.last and other.first <= self.last


def lifetimes(steps: tuple[Step, ...], stages: tuple[tuple[int, ...], ...]) -> dict[int, Lifetime]:
    """Lifetime of each buffer that a step touches, by buffer index."""
    lives: dict[int, Lifetime] = {}
    for stage, members in enumerate(stages):
        for index in members:
            touched = (*sources_of(steps[index]), *(d.slice for d in destinations_of(steps[index])))
            for piece in touched:
                first = lives[piece.buffer].first if piece.buffer in lives else stage
                lives[piece.buffer] = Lifetime(first, stage)
    return lives


def align(size: int) -> int:
    """``size`` rounded up to the arena's alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def layout(sizes: Mapping[int, int], lives: Mapping[int, Lifetime]) -> tuple[dict[int, int], int]:
    """Offsets by buffer index, and the arena's size; both in elements per image, multiples of ALIGNMENT."""
    offsets: dict[int, int] = {}
    for index in sorted(sizes, key=lambda i: (-sizes[i], i)):
        taken = sorted((offsets[i], offsets[i] + align(sizes[i])) for i in offsets if lives[i].overlaps(lives[index]))
        gaps = [(0, 0), *taken, (float("inf"), 0)]
        reach = 0
        for (_, end), (start, _) in pairwise(gaps):
            reach = max(reach, end)
            if start - reach >= align(sizes[index]):
                break
        offsets[index] = reach
    return offsets, max((offsets[i] + align(sizes[i]) for i in offsets), default=0)


def lower_bound(sizes: Mapping[int, int], lives: Mapping[int, Lifetime]) -> int:
    """The largest sum of sizes alive in one stage: no layout can need less."""
    stages = {stage for life in lives.values() for stage in (life.first, life.last)}
    return max((sum(align(sizes[i]) for i in sizes if lives[i].first <= s <= lives[i].last) for s in stages), default=0)
