"""Boxes in rows: in order, apart, inside, and as near to their wishes as that allows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from inception_fast.explain.columns import even_columns, fill_columns
from inception_fast.explain.geometry import Box, Link, place, row_width, spread

GAP, SPACE = 10.0, 600.0


@pytest.mark.parametrize("seed", range(20))
def test_spread_keeps_order_gaps_and_bounds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 7))
    widths = rng.uniform(5, 80, count).tolist()
    centres = spread(rng.uniform(-500, 500, count).tolist(), widths, GAP, SPACE)
    edges = [(x - w / 2, x + w / 2) for x, w in zip(centres, widths, strict=True)]
    assert all(left[1] + GAP <= right[0] + 1e-9 for left, right in pairwise(edges))
    assert edges[0][0] >= -SPACE / 2 - 1e-9
    assert edges[-1][1] <= SPACE / 2 + 1e-9


@pytest.mark.parametrize("seed", range(10))
def test_spread_is_the_nearest_of_all(seed: int) -> None:
    """No small legal move brings the boxes nearer to their wishes."""
    rng = np.random.default_rng(seed)
    widths, wanted = rng.uniform(5, 80, 4), rng.uniform(-200, 200, 4)
    best = np.array(spread(wanted.tolist(), widths.tolist(), GAP, SPACE))

    def cost(x: np.ndarray) -> float:
        return float(((x - wanted) ** 2).sum())

    apart = (widths[1:] + widths[:-1]) / 2 + GAP
    for _ in range(500):
        other = best + rng.normal(0, 1, 4)
        legal = np.all(np.diff(other) >= apart) and abs(other[0] - widths[0] / 2) <= SPACE / 2
        if legal and other[-1] + widths[-1] / 2 <= SPACE / 2 and other[0] - widths[0] / 2 >= -SPACE / 2:
            assert cost(other) >= cost(best) - 1e-9


def test_boxes_that_are_free_get_their_wish() -> None:
    assert spread([-100.0, 0.0, 100.0], [20.0, 20.0, 20.0], GAP, SPACE) == [-100.0, 0.0, 100.0]


def test_a_line_that_passes_a_row_gets_a_place_in_it() -> None:
    top, middle, bottom = Box(0, 300, fixed=True), Box(1, 100), Box(2, 100)
    long, short, last = Link(top, bottom, (None, 0.0)), Link(top, middle, (None, 0.0)), Link(middle, bottom)
    boxes = [top, middle, bottom]
    place(boxes, [long, short, last], gap=GAP, line=8, space=SPACE)
    (via,) = long.via
    assert via.row == 1
    assert abs(via.x - middle.x) >= (via.width + middle.width) / 2 + GAP - 1e-9


def test_an_end_that_may_be_anywhere_stays_on_its_box() -> None:
    top, below = Box(0, 100, fixed=True), Box(1, 20, x=300, fixed=True)
    link = Link(top, below, (None, 0.0))
    begin, end = link.ends()
    assert -50 <= begin <= 50
    assert end == 300


def test_row_width() -> None:
    assert row_width([10.0, 20.0], GAP) == 40.0


@pytest.mark.parametrize("count", range(1, 8))
def test_columns_keep_the_order_and_are_as_short_as_can_be(count: int) -> None:
    heights = [5.0, 3.0, 8.0, 2.0, 2.0, 6.0, 4.0]
    columns = even_columns(heights, count)
    assert columns[0] == 0
    assert all(after - before in (0, 1) for before, after in pairwise(columns))
    assert max(columns) < count

    def tallest(assigned: list[int]) -> float:
        return max(sum(h for h, c in zip(heights, assigned, strict=True) if c == k) for k in assigned)

    def divisions(left: int, first: int, columns_left: int):
        if columns_left == 1:
            yield [first] * left
            return
        for here in range(1, left + 1):
            for rest in divisions(left - here, first + 1, columns_left - 1) if left > here else [[]]:
                yield [first] * here + rest

    assert tallest(columns) <= min(map(tallest, divisions(len(heights), 0, count))) + 1


def test_a_wide_page_has_more_columns() -> None:
    heights = [10.0] * 12
    counts = [max(fill_columns(heights, 30.0, 5.0, aspect)) + 1 for aspect in (0.3, 1.5, 6.0)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]
