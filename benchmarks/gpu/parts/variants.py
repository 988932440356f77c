"""The ``cuda`` backend's options, varied: how launches overlap, how K is cut, tiles and blocks.

Each variant is timed in turns with the backend's own choice, a few at a time. The order is that of what
they are to decide, so that a visit which ends early has those answers.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from benchmarks.gpu.contestants import contest, ours
from benchmarks.gpu.networks import takes_options, target_of
from benchmarks.gpu.worker import Skip, Visit, main

TOGETHER = 4
"""Variants in one contest."""
SEGMENTS = (256, 512, 1024)
"""Bytes of the shortest segment of a sum."""
LAUNCHES = ("overlap=0", *(f"overlap=1,trigger={when}" for when in ("early", "late", "none")))
SHAPES = ("64x32", "64x64", "128x64", "128x128")
BLOCKS = (1, 2, 3, 4)
"""Of the network driver, on a multiprocessor."""
SECONDS = 0.7
"""Of the calls of a contest, and of its replays."""


def variants(batch: int) -> dict[str, list[str]]:
    """Options by driver, for a batch size."""
    launches = [f"{launch},shortest={n}" for n, launch in product(SEGMENTS, LAUNCHES)]
    shapes = [f"shape={shape}" for shape in SHAPES]
    if batch > 8:
        # Large batches have tiles enough: K is not cut, and the network driver is not for them.
        return {"stage": [*shapes, *LAUNCHES]}
    waves = [f"shortest={n},waves={waves}" for n, waves in product(SEGMENTS[:2], (1, 2))]
    return {"stage": [*launches, *waves, *shapes], "network": [f"blocks={n}" for n in BLOCKS]}


def run(visit: Visit) -> None:
    setting, target = visit.setting, target_of(visit.setting)
    precision = setting.precisions[0]
    small, large = setting.batches[:2]
    for batch, driver in ((small, "stage"), (large, "stage"), (small, "network")):
        if driver in (options := variants(batch)):
            wanted = options[driver] if setting.on_gpu else options[driver][:2]
            for begin in range(0, len(wanted), TOGETHER):
                some = wanted[begin : begin + TOGETHER]
                visit.case(
                    f"{driver}-batch{batch}-{begin // TOGETHER}",
                    lambda b=batch, d=driver, s=some: compare(visit, target, d, s, b, precision),
                    15,
                )


def compare(visit: Visit, target: Any, driver: str, options: list[str], batch: int, precision: str) -> dict[str, Any]:
    """Variants in turns with the backend's own choice, which the ratios are over."""
    if not takes_options():
        raise Skip("the cuda backend takes no options")
    entrants = [ours(visit.work, visit.setting, driver, o) for o in ("", *options)]
    return contest(visit, target, entrants, batch, precision, SECONDS)


if __name__ == "__main__":
    main(run)
