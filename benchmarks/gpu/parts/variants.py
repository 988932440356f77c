"""The ``cuda`` backend's options, varied: how launches overlap, how K is cut, tiles and blocks.

Each variant is timed in turns with the backend's own choice, a few at a time. The order is that of what
they are to decide, so that a visit which ends early has those answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

from benchmarks.gpu.contestants import contest, ours
from benchmarks.gpu.networks import takes_options, target_of
from benchmarks.gpu.worker import Skip, Visit, main

SEGMENTS = (256, 512, 1024)
"""Bytes of the shortest segment of a sum."""
LAUNCHES = ("overlap=0", *(f"overlap=1,trigger={when}" for when in ("early", "late", "none")))
SHAPES = ("64x32", "64x64", "128x64")
BLOCKS = (1, 2, 3, 4)
"""Of the network driver, on a multiprocessor."""
SECONDS = 0.7
"""Of the calls of a contest, and of its replays."""


class Variants(NamedTuple):
    """What one contest compares.

    Attributes:
        large: at the second batch size that is timed, not the first.
    """

    name: str
    driver: str
    large: bool
    options: Sequence[str]


CONTESTS = (
    Variants("shapes", "stage", True, [f"shape={shape}" for shape in SHAPES]),
    Variants("launches", "stage", False, LAUNCHES),
    Variants("segments", "stage", False, [f"shortest={n}" for n in SEGMENTS]),
    Variants("blocks", "network", False, [f"blocks={n}" for n in BLOCKS]),
    Variants("shapes", "stage", False, [f"shape={shape}" for shape in SHAPES]),
    Variants("launches", "stage", True, LAUNCHES),
    Variants("waves", "stage", False, [f"shortest={n},waves={w}" for n, w in product(SEGMENTS[:2], (1, 2))]),
    Variants("launches-short", "stage", False, [f"{launch},shortest={SEGMENTS[0]}" for launch in LAUNCHES]),
    Variants("launches-long", "stage", False, [f"{launch},shortest={SEGMENTS[-1]}" for launch in LAUNCHES]),
)
"""Those that decide most first. A large batch has tiles enough: K is not cut, and the network driver is not for it."""


def run(visit: Visit) -> None:
    setting, target = visit.setting, target_of(visit.setting)
    seen: set[tuple[str, bool]] = set()
    for varied in CONTESTS:
        # The dry run's: one of each driver and batch size.
        if not setting.on_gpu and (varied.driver, varied.large) in seen:
            continue
        seen.add((varied.driver, varied.large))
        batch = setting.batches[int(varied.large)]
        options = varied.options if setting.on_gpu else varied.options[:2]
        visit.case(
            f"{varied.driver}-batch{batch}-{varied.name}",
            lambda c=varied, b=batch, o=options: compare(visit, target, c.driver, o, b, setting.precisions[0]),
            25,
        )


def compare(
    visit: Visit, target: Any, driver: str, options: Sequence[str], batch: int, precision: str
) -> dict[str, Any]:
    """Variants in turns with the backend's own choice, which the ratios are over."""
    if not takes_options():
        raise Skip("the cuda backend takes no options")
    entrants = [ours(visit.work, visit.setting, driver, o) for o in ("", *options)]
    return contest(visit, target, entrants, batch, precision, SECONDS)


if __name__ == "__main__":
    main(run)
