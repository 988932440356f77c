"""Configurations of the Triton kernels with the most arithmetic, measured.

It leaves every candidate's time, and a table of the best that can be shipped as it is; with the times of whole passes,
where the visit has them, by which ``auto`` chooses between backends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from benchmarks.gpu.contestants import REPLAY, ours_name
from benchmarks.gpu.networks import engine_path
from benchmarks.gpu.worker import Skip, Visit, main
from inception_fast.bench.record import jsonable
from inception_fast.plan.engine_file import EngineFile, read_engine
from inception_fast.tuning.choice import limits_of, machine_of
from inception_fast.tuning.measure import Measurement, Problems, device_timer, problems_of, tune
from inception_fast.tuning.table import Table, read_table, write_table

HEAVIEST = 10
FILE = "tuning.json"


def run(visit: Visit) -> None:
    precision = visit.setting.precisions[0]
    engine = read_engine(engine_path(visit.work, "triton", precision))
    for members in heaviest(engine, precision, visit.setting.batches[:2]):
        name = " + ".join(engine.plan.step_names[i] for i in members[1])
        visit.case(f"{members[0][0].images}-{name}", lambda m=members: measure(visit, engine, *m), 30)
    visit.case("passes", lambda: keep_passes(visit, precision), 10)


def heaviest(engine: EngineFile, precision: str, batches: tuple[int, ...]) -> list[tuple[Problems, tuple[int, ...]]]:
    """Problems with the most arithmetic and the steps that have them; half from each batch size."""
    found = []
    for batch in batches:
        problems = problems_of(engine.plan, precision, (batch,)).items()
        found += sorted(problems, key=lambda item: -sum(p.flops for p in item[0]))[: HEAVIEST // len(batches)]
    return found


def measure(visit: Visit, engine: EngineFile, problems: Problems, members: tuple[int, ...]) -> dict[str, Any]:
    """All candidates of one problem."""
    if not visit.setting.on_gpu:
        raise Skip("candidates are timed on a GPU")
    device = torch.device("cuda", torch.cuda.current_device())
    file = visit.artifacts / FILE
    known = read_table(file) or Table(machine_of(device), True)
    with torch.no_grad():
        found: Iterator[Measurement] = tune(
            engine.plan, engine.constants, {problems: members}, device, limits_of(device), device_timer, known.entries
        )
        measured = next(iter(found))
    write_table(file, replace(known, entries={**known.entries, measured.key: measured.best[0]}))
    return {"key": measured.key, "flops": measured.flops, "times": jsonable(measured.times)}


def keep_passes(visit: Visit, precision: str) -> dict[str, Any]:
    """Puts what :mod:`benchmarks.gpu.parts.timing` found into the table."""
    times = pass_times(visit.figures("timing"), precision)
    if not visit.setting.on_gpu or not times:
        raise Skip("no passes were timed on a GPU")
    file = visit.artifacts / FILE
    known = read_table(file) or Table(machine_of(torch.device("cuda", torch.cuda.current_device())), True)
    write_table(file, replace(known, passes={**known.passes, precision: times}))
    return {"batches": sorted(times)}


def pass_times(figures: Mapping[str, Mapping[str, Any]], precision: str) -> dict[int, dict[str, float]]:
    """Seconds of a replay by batch size and backend, of results that are right; ``cuda`` is its default driver."""
    names = {f"{ours_name('stage')}{REPLAY}": "cuda", f"{ours_name('triton')}{REPLAY}": "triton"}
    found: dict[int, dict[str, float]] = {}
    for case in figures.values():
        contest = case.get("contest", {"precision": None})
        for row in contest["rows"] if contest["precision"] == precision else ():
            if row["name"] in names and row["correct"]:
                found.setdefault(contest["batch"], {})[names[row["name"]]] = row["seconds"]["median"]
    return found


if __name__ == "__main__":
    main(run)
