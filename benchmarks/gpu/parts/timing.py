"""Calls and replays of every driver, Triton and eager, in turns, at each batch size."""

from __future__ import annotations

from benchmarks.gpu.contestants import contest, eager, ours
from benchmarks.gpu.networks import target_of
from benchmarks.gpu.setting import DRIVERS
from benchmarks.gpu.worker import Visit, main


def run(visit: Visit) -> None:
    setting, target = visit.setting, target_of(visit.setting)
    precision = setting.precisions[0]
    entrants = [*(ours(visit.work, setting, name) for name in (*DRIVERS, "triton")), eager()]
    for batch in setting.batches:
        visit.case(
            f"{precision}-batch{batch}",
            lambda b=batch: contest(visit, target, entrants, b, precision, setting.seconds),
            30,
        )


if __name__ == "__main__":
    main(run)
