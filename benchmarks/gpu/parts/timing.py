"""Calls and replays of every driver and Triton, in turns, at each batch size; eager beside the first of them alone.

Eager comes in cases of its own: at a large batch cuDNN's search takes longer than all of ours, and a case that is
stopped leaves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.gpu.contestants import contest, eager, ours
from benchmarks.gpu.networks import target_of
from benchmarks.gpu.setting import DRIVERS
from benchmarks.gpu.worker import Visit, main
from inception_fast.bench.contest import Entrant

DECISIVE = 2
"""Batch sizes whose contests with eager come before the other batch sizes."""
LIMIT = 60


def run(visit: Visit) -> None:
    setting, target = visit.setting, target_of(visit.setting)
    precision = setting.precisions[0]
    drivers = [ours(visit.work, setting, name) for name in (*DRIVERS, "triton")]
    contests = {"": (drivers, setting.seconds), "-eager": ([drivers[0], eager()], setting.seconds / 2)}

    def case(batch: int, suffix: str) -> None:
        entrants: Sequence[Entrant]
        entrants, seconds = contests[suffix]
        name = f"{precision}-batch{batch}{suffix}"
        visit.case(name, lambda: contest(visit, target, entrants, batch, precision, seconds), LIMIT)

    for batches in (setting.batches[:DECISIVE], setting.batches[DECISIVE:]):
        for suffix in contests:
            for batch in batches:
                case(batch, suffix)


if __name__ == "__main__":
    main(run)
