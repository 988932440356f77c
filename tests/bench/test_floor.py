"""The model of a GPU in ``benchmarks/floor.py``, on a Plan whose figures fit in the head."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.floor import Machine, floors, tiles_of
from inception_fast.plan.lower import lower
from inception_fast.plan.plan import Plan
from tests.graph.build import Build

# One operation a second on each of four multiprocessors, one byte a second.
MACHINE = Machine(rate=4.0, bandwidth=1.0, hop=10.0, multiprocessors=4, tile=(16, 8))


def _plan(*channels: int) -> Plan:
    """Convolutions of 3x3 on 6x6 pixels with 5 channels, all of one stage."""
    build = Build(5, 6, 6)
    branches = [build.conv("x", c, (3, 3)) for c in channels]
    return lower(build.graph(*branches), "float16")[0]


def test_tiles_are_counted_with_their_ragged_ends() -> None:
    (step,) = _plan(9).steps
    # 36 pixels a image in tiles of 16, 9 channels in tiles of 8.
    assert [tiles_of(_plan(9), step, batch, MACHINE.tile) for batch in (1, 2, 4)] == [3 * 2, 5 * 2, 9 * 2]


def test_the_three_bounds_of_a_stage() -> None:
    (floor,) = floors(_plan(9), 2, MACHINE)
    operations = 2 * 36 * 9 * 5 * 9 * 2
    weights = 2 * 9 * 5 * 9
    assert floor.matrix == pytest.approx(operations / 4)
    assert floor.memory == pytest.approx(2 * 2 * 36 * (5 + 9) + weights)
    # Ten tiles in three rounds of four; a tile is computed whole, whatever of it is wanted.
    assert (floor.tiles, floor.dealt) == (10, pytest.approx(3 * 2 * 16 * 8 * 5 * 9))
    assert floor.work == max(floor.matrix, floor.memory, floor.dealt)


def test_branches_of_a_stage_fill_its_rounds_together() -> None:
    plan = _plan(8, 8)
    (floor,) = floors(plan, 1, MACHINE)
    # 3 + 3 tiles are two rounds; each by itself would have left a multiprocessor idle.
    assert (floor.tiles, floor.dealt) == (6, pytest.approx(2 * 2 * 16 * 8 * 5 * 9))


def test_split_k_uses_idle_multiprocessors_and_no_others() -> None:
    plan, cut = _plan(8), replace(MACHINE, multiprocessors=9, rate=9.0, split_k=True)
    tile = 2 * 16 * 8 * 5 * 9
    assert floors(plan, 1, replace(cut, split_k=False))[0].dealt == pytest.approx(tile)
    assert floors(plan, 1, cut)[0].dealt == pytest.approx(tile / 3)
    assert floors(plan, 8, cut)[0] == floors(plan, 8, replace(cut, split_k=False))[0]
