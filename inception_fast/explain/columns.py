"""Blocks in columns, as even as their order allows."""

from __future__ import annotations

from collections.abc import Sequence


def fill_columns(heights: Sequence[float], width: float, header: float, aspect: float) -> list[int]:
    """The column of each block: as many columns as bring the page nearest to an aspect ratio.

    Args:
        heights: of the blocks, in order.
        width: of a column.
        header: what the page has above its columns.
        aspect: width over height.
    """
    candidates = [even_columns(heights, count) for count in range(1, len(heights) + 1)]

    def distance(columns: list[int]) -> float:
        tallest = max(sum(h for h, c in zip(heights, columns, strict=True) if c == k) for k in set(columns))
        return abs((max(columns) + 1) * width / (header + tallest) - aspect)

    return min(candidates, key=distance)


def even_columns(heights: Sequence[float], count: int) -> list[int]:
    """The column of each block for at most ``count`` columns, the tallest of which is as short as can be."""
    low, high = max(heights), sum(heights)
    while high - low > 1:
        limit = (low + high) / 2
        low, high = (low, limit) if max(_greedy(heights, limit)) < count else (limit, high)
    return _greedy(heights, high)


def _greedy(heights: Sequence[float], limit: float) -> list[int]:
    columns, column, filled = [], 0, 0.0
    for height in heights:
        if filled and filled + height > limit:
            column, filled = column + 1, 0.0
        filled += height
        columns.append(column)
    return columns
