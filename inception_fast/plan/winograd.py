"""Which taps a quantised convolution can compute two outputs at a time, by Winograd's F(2, 3); ``docs/int8.md``."""

from __future__ import annotations

from dataclasses import dataclass

from inception_fast.plan.plan import Axis, Convolution, Pair

AXES: tuple[Axis, ...] = ("vertical", "horizontal")
TRIPLE = 4
"""Weights of three taps: the even output's own, of the shared sum, of the shared difference, the odd output's own."""


@dataclass(frozen=True)
class WinogradTaps:
    """Lines of taps along an axis, each cut into threes, and what is left at its end into single taps.

    Attributes:
        axis: 0 where the lines are vertical, 1 where they are horizontal.
        extent: (rows, columns) of the taps.
        first: the first tap.
    """

    axis: int
    extent: Pair
    first: Pair

    @property
    def lines(self) -> int:
        return self.extent[1 - self.axis]

    @property
    def triples(self) -> int:
        return self.extent[self.axis] // 3

    @property
    def singles(self) -> int:
        return self.extent[self.axis] % 3

    @property
    def line_weights(self) -> int:
        return TRIPLE * self.triples + self.singles

    @property
    def weights(self) -> int:
        """Of an input and an output channel, line by line: those of the triples, then of the single taps."""
        return self.lines * self.line_weights

    @property
    def products(self) -> int:
        """Of two outputs and an input channel."""
        return self.lines * (TRIPLE * self.triples + 2 * self.singles)


def winograd_taps(conv: Convolution, axis: Axis) -> WinogradTaps | None:
    """None where the taps are not a rectangle in the order of rows, then columns, that is at least three long along
    ``axis``, or the stride is not 1.
    """
    (top, left), (bottom, right) = conv.taps[0], conv.taps[-1]
    taps = WinogradTaps(AXES.index(axis), (bottom - top + 1, right - left + 1), (top, left))
    if conv.stride != (1, 1) or taps.extent[taps.axis] < 3:
        return None
    if len(conv.taps) != taps.extent[0] * taps.extent[1]:
        return None
    rows, columns = (range(begin, end + 1) for begin, end in ((top, bottom), (left, right)))
    return taps if conv.taps == tuple((y, x) for y in rows for x in columns) else None
