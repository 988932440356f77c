"""Layered placement: boxes in rows, each as near to what it is linked with as its neighbours in the row allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

SWEEPS = 8


@dataclass
class Box:
    """Something in a row.

    Attributes:
        row: 0 at the top.
        width: in pixels.
        x: of its centre.
        fixed: ``x`` is given.
    """

    row: int
    width: float
    x: float = 0.0
    fixed: bool = False


@dataclass
class Link:
    """A line from one box down to another.

    Attributes:
        offsets: of its ends from the boxes' centres; None for anywhere along the box.
        via: boxes that keep the line's place in the rows that it passes.
    """

    source: Box
    target: Box
    offsets: tuple[float | None, float | None] = (0.0, 0.0)
    via: list[Box] = field(default_factory=list)

    def hops(self) -> list[tuple[Box, float | None, Box, float | None]]:
        """Its pieces from row to row: upper box and offset, lower box and offset."""
        path = [self.source, *self.via, self.target]
        starts = [self.offsets[0], *(0.0 for _ in self.via)]
        ends = [*(0.0 for _ in self.via), self.offsets[1]]
        return list(zip(path[:-1], starts, path[1:], ends, strict=True))

    def ends(self) -> tuple[float, float]:
        """x of both ends; an end that may be anywhere is straight above or below the other end of its piece."""
        (upper, begin, lower, first_end), (last_upper, last_begin, target, end) = self.hops()[0], self.hops()[-1]
        below = lower.x + (first_end or 0.0)
        above = last_upper.x + (last_begin or 0.0)
        return _within(upper, below) if begin is None else upper.x + begin, (
            _within(target, above) if end is None else target.x + end
        )


def _within(box: Box, x: float) -> float:
    margin = min(12.0, box.width / 2)
    return min(max(x, box.x - box.width / 2 + margin), box.x + box.width / 2 - margin)


def row_width(widths: Sequence[float], gap: float) -> float:
    """What boxes in a row take, ``gap`` apart."""
    return sum(widths) + gap * (len(widths) - 1)


def spread(wanted: Sequence[float], widths: Sequence[float], gap: float, space: float) -> list[float]:
    """Centres for boxes in a row, in order and ``gap`` apart, with the least sum of squared distances from ``wanted``.

    Isotonic regression by pooling adjacent violators (Ayer et al., 1955), after the widths are taken out; bounds clip
    its solution. The boxes stay within ``space``, which has its middle at 0, where they fit.
    """
    offsets, reach = [], 0.0
    for width in widths:
        offsets.append(reach + width / 2)
        reach += width + gap
    pools: list[tuple[float, int]] = []
    for value in (want - offset for want, offset in zip(wanted, offsets, strict=True)):
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (last, n), (before, m) = pools.pop(), pools.pop()
            pools.append(((before * m + last * n) / (m + n), m + n))
    lowest, highest = -space / 2, max(-space / 2, space / 2 - row_width(widths, gap))
    levels = [min(max(mean, lowest), highest) for mean, count in pools for _ in range(count)]
    return [level + offset for level, offset in zip(levels, offsets, strict=True)]


def place(boxes: list[Box], links: Sequence[Link], *, gap: float, line: float, space: float) -> None:
    """Gives every box that is not fixed its ``x`` within ``space``; adds boxes of width ``line`` where links pass rows.

    The boxes of a row keep the order that looking at the row below suggests.
    """
    for link in links:
        link.via = [Box(row, line) for row in range(link.source.row + 1, link.target.row)]
        boxes += link.via
    rows: dict[int, list[Box]] = {}
    for box in boxes:
        rows.setdefault(box.row, []).append(box)
    wishes: dict[int, list[tuple[float, Box, float]]] = {id(box): [] for box in boxes}
    for link in links:
        for upper, begin, lower, end in link.hops():
            if begin is not None and end is not None:
                wishes[id(upper)].append((begin, lower, end))
                wishes[id(lower)].append((end, upper, begin))
    for sweep in range(SWEEPS):
        for row in sorted(rows, reverse=sweep % 2 == 0):
            free = [box for box in rows[row] if not box.fixed]
            wanted = {id(box): _wish(box, wishes[id(box)], down_only=sweep == 0) for box in free}
            if sweep < SWEEPS // 2:
                free.sort(key=lambda box: wanted[id(box)])
                rows[row] = [box for box in rows[row] if box.fixed] + free
            centres = spread([wanted[id(box)] for box in free], [box.width for box in free], gap, space)
            for box, x in zip(free, centres, strict=True):
                box.x = x


def _wish(box: Box, wishes: Sequence[tuple[float, Box, float]], down_only: bool) -> float:
    pulls = [other.x + theirs - own for own, other, theirs in wishes if not down_only or other.row > box.row]
    return sum(pulls) / len(pulls) if pulls else box.x
