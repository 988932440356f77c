"""Stages against their definition, one step at a time."""

from __future__ import annotations

import random

import pytest

from inception_fast.plan.plan import Destination, PointwiseStep, Slice, destinations_of, sources_of
from inception_fast.plan.schedule import schedule


def random_steps(seed: int) -> list[PointwiseStep]:
    """That read and write small slices of three buffers; what each writes is its own."""
    rng = random.Random(seed)
    places = [Slice(buffer, start, 2) for buffer in range(3) for start in range(0, 12, 2)]
    rng.shuffle(places)

    def piece() -> Slice:
        start = rng.randrange(11)
        return Slice(rng.randrange(3), start, rng.randint(1, min(3, 12 - start)))

    count = rng.randint(1, len(places))
    return [
        PointwiseStep(f"step{i}", piece(), Destination(place, False), other=piece() if rng.random() < 0.4 else None)
        for i, place in enumerate(places[:count])
    ]


def channels(piece: Slice) -> set[tuple[int, int]]:
    return {(piece.buffer, piece.start + channel) for channel in range(piece.channels)}


@pytest.mark.parametrize("seed", range(60))
def test_each_step_is_as_early_as_what_it_reads_allows(seed: int) -> None:
    steps = random_steps(seed)
    stage_of: dict[str, int] = {}
    for index, step in enumerate(steps):
        read = set().union(*map(channels, sources_of(step)))
        writers = [w for w in steps[:index] if any(channels(d.slice) & read for d in destinations_of(w))]
        stage_of[step.name] = max((stage_of[w.name] + 1 for w in writers), default=0)
    ordered, stages = schedule(steps)
    # In their old order within a stage.
    assert list(ordered) == sorted(steps, key=lambda step: stage_of[step.name])
    assert [i for members in stages for i in members] == list(range(len(steps)))
    assert [{stage_of[ordered[i].name] for i in members} for members in stages] == [{s} for s in range(len(stages))]


def test_nothing_to_do() -> None:
    assert schedule([]) == ((), ())
