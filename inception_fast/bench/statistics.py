"""Medians, spreads and paired ratios of timings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor


@dataclass(frozen=True)
class Summary:
    """A sample's middle and spread, in the sample's unit.

    Attributes:
        p10, p90: percentiles; four fifths of the sample lie between them.
        count: size of the sample.
    """

    median: float
    p10: float
    p90: float
    count: int

    @staticmethod
    def of(sample: Sequence[float]) -> Summary:
        return Summary(percentile(sample, 50), percentile(sample, 10), percentile(sample, 90), len(sample))


def percentile(sample: Sequence[float], q: float) -> float:
    """The ``q``-th percentile (0 to 100), linear between neighbours, as ``numpy.percentile`` has it.

    Raises:
        ValueError: the sample is empty.
    """
    if not sample:
        raise ValueError("percentile of an empty sample")
    ordered = sorted(sample)
    place = (len(ordered) - 1) * q / 100
    below = floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def paired_ratio(theirs: Sequence[float], ours: Sequence[float]) -> Summary:
    """``theirs / ours`` round by round: above 1 where ours is faster.

    Pairing within a round takes out what slows the whole machine for a while.
    """
    return Summary.of([a / b for a, b in zip(theirs, ours, strict=True)])
