"""Configurations of the Triton kernels with the most arithmetic, measured.

It leaves every candidate's time, and a table of the best that can be shipped as it is; with the times of whole passes,
where the visit has them, by which ``auto`` chooses between backends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.contestants import ours_name
from benchmarks.gpu.networks import engine_path
from benchmarks.gpu.worker import Skip, Visit, main
from benchmarks.tables import REPLAY, rows_of
from inception_fast.bench.record import jsonable
from inception_fast.plan.engine_file import EngineFile, read_engine
from inception_fast.tuning.choice import limits_of, machine_of
from inception_fast.tuning.measure import Measurement, Problems, Timer, device_timer, problems_of, tune
from inception_fast.tuning.problem import ConvConfig
from inception_fast.tuning.table import Table, read_table, write_table

HEAVIEST = 10
FILE = "tuning.json"


def run(visit: Visit) -> None:
    precision, batches = visit.setting.precisions[0], visit.setting.batches[:2]
    file = engine_path(visit.work, "triton", precision)
    engine = read_engine(file)
    chosen = heaviest(engine, precision, batches)
    visit.case("compile", lambda: compile_all(visit, [(file, precision, batches, i) for i in range(len(chosen))]), 60)
    for problems, members in chosen:
        name = " + ".join(engine.plan.step_names[i] for i in members)
        visit.case(f"{problems[0].images}-{name}", lambda p=problems, m=members: measure(visit, engine, p, m), 30)
    visit.case("passes", lambda: keep_passes(visit, precision), 10)


def heaviest(engine: EngineFile, precision: str, batches: Sequence[int]) -> list[tuple[Problems, tuple[int, ...]]]:
    """Problems with the most arithmetic and the steps that have them; as many from each batch size."""
    found = []
    for batch in batches:
        problems = problems_of(engine.plan, precision, (batch,)).items()
        found += sorted(problems, key=lambda item: -sum(p.flops for p in item[0]))[: HEAVIEST // len(batches)]
    return found


def compile_all(visit: Visit, jobs: Sequence[tuple[Path, str, Sequence[int], int]]) -> dict[str, Any]:
    """All candidates, a process for each problem: one after the other they would take longer than their times."""
    refuse_without_gpu(visit)
    with get_context("spawn").Pool(min(visit.setting.processes, len(jobs))) as pool:
        return {"candidates": pool.starmap(compile_candidates, jobs, chunksize=1)}


def compile_candidates(file: Path, precision: str, batches: Sequence[int], index: int) -> int:
    """Runs every candidate of a problem once, which leaves it in Triton's cache; returns how many there are."""
    engine = read_engine(file)
    problems, members = heaviest(engine, precision, batches)[index]

    def once(work: Callable[[], None]) -> float:
        work()
        return 0.0

    return len(tuned(engine, problems, members, once, {}).times)


def measure(visit: Visit, engine: EngineFile, problems: Problems, members: tuple[int, ...]) -> dict[str, Any]:
    """The time of every candidate of one problem."""
    refuse_without_gpu(visit)
    file = visit.artifacts / FILE
    known = read_table(file) or Table(machine_of(torch.device("cuda", torch.cuda.current_device())), True)
    measured = tuned(engine, problems, members, device_timer, known.entries)
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
        for row in rows_of(contest) if contest["precision"] == precision else ():
            if row["name"] in names and row["correct"]:
                found.setdefault(contest["batch"], {})[names[row["name"]]] = row["seconds"]["median"]
    return found


def tuned(
    engine: EngineFile,
    problems: Problems,
    members: tuple[int, ...],
    timer: Timer,
    known: Mapping[str, ConvConfig | None],
) -> Measurement:
    """One problem's candidates under a timer, on the current device."""
    device = torch.device("cuda", torch.cuda.current_device())
    wanted = {problems: members}
    with torch.no_grad():
        return next(iter(tune(engine.plan, engine.constants, wanted, device, limits_of(device), timer, known)))


def refuse_without_gpu(visit: Visit) -> None:
    """Skips a case in the dry run."""
    if not visit.setting.on_gpu:
        raise Skip("candidates are timed on a GPU")


if __name__ == "__main__":
    main(run)
