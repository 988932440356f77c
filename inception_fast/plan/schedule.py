"""Stages: sets of steps that do not depend on each other, as early as their inputs allow."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from inception_fast.plan.plan import Step, destinations_of, sources_of


def schedule(steps: Sequence[Step]) -> tuple[tuple[Step, ...], tuple[tuple[int, ...], ...]]:
    """Sorts steps by stage, keeping the order within a stage.

    Args:
        steps: in an order that is valid one after the other.

    Returns:
        The steps in stage order, and the indices of each stage's steps.
    """
    writers: dict[int, list[tuple[int, int, int]]] = {}
    stage_of: list[int] = []
    for step in steps:
        ready = [
            stage + 1
            for piece in sources_of(step)
            for start, end, stage in writers.get(piece.buffer, [])
            if start < piece.start + piece.channels and piece.start < end
        ]
        stage_of.append(max(ready, default=0))
        for piece in (d.slice for d in destinations_of(step)):
            writers.setdefault(piece.buffer, []).append((piece.start, piece.start + piece.channels, stage_of[-1]))
    order = sorted(range(len(steps)), key=stage_of.__getitem__)
    stages = groupby(range(len(order)), key=lambda position: stage_of[order[position]])
    return tuple(steps[i] for i in order), tuple(tuple(members) for _, members in stages)
