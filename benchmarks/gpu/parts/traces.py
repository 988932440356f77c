"""Where the blocks of a pass spend their time, by the GPU's own clock.

A summary of each launch and step is in the journal, and some of the records in a file, evenly spread over the pass.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu import clocks
from benchmarks.gpu.networks import Truth, device_of, fast_model
from benchmarks.gpu.setting import DRIVERS
from benchmarks.gpu.worker import Skip, Visit, main, one_line
from benchmarks.time_model import chunks_of
from inception_fast.backends.cuda_trace import COLUMNS
from inception_fast.errors import BackendUnavailableError
from inception_fast.plan.plan import Plan

PHASES = {
    "wait": ("start", "ready"),
    "fill": ("ready", "first_chunk"),
    "loop": ("first_chunk", "loop_end"),
    "epilogue": ("loop_end", "done"),
}
"""Of a block's time at a tile: for earlier launches, to the first chunk, the chunks, and what is behind them."""
SPREAD = (10, 50, 90)
"""Percentiles."""
MOST = 50_000
"""Records in a file."""
WARM = 0.5
"""Seconds of passes before one is traced, so that clocks are those under load."""


def run(visit: Visit) -> None:
    precision = visit.setting.precisions[0]
    small, large = visit.setting.batches[:2]
    # Other drivers are made for small batches, and a large one has hundreds of thousands of tiles.
    for batch, drivers in ((small, DRIVERS), (large, DRIVERS[:1])):
        for driver in drivers:
            visit.case(f"{driver}-batch{batch}", lambda d=driver, b=batch: trace(visit, d, precision, b), 20)


def trace(visit: Visit, driver: str, precision: str, batch: int) -> dict[str, Any]:
    """One pass, in the layout that is timed."""
    try:
        fast = fast_model(visit.work, visit.setting, driver, precision)
    except BackendUnavailableError as error:
        raise Skip(str(error)) from error
    device = device_of(visit.setting)
    images = Truth.load(visit.work).batch(batch).images
    x = images.to(device, getattr(torch, fast.plan.io_dtype)).contiguous(memory_format=torch.channels_last)
    # Behind the graphs, which keep their outputs and not their records.
    executor = fast.executor_for(device)[1].unrecorded(batch)
    tracing = getattr(executor, "trace_columns", None)
    if tracing is None:
        raise Skip("the cuda backend's executor has no trace")
    replay = fast.static(x)
    before = warm(replay, WARM) if visit.setting.on_gpu else None
    with torch.no_grad():
        tracing(x)
        columns = tracing(x).numpy()
    after = clocks.read() if visit.setting.on_gpu else None
    names = [name for launch in executor.launches() for name in launch]
    save(visit.artifacts / f"trace-{driver}-batch{batch}.npz", visit.work, columns, names)
    return {
        "blocks": len(columns),
        "clocks_before": before,
        "clocks_after": after,
        "clock_step": clock_step(columns),
        "launches": launches(columns),
        "steps": steps(columns, names, known_chunks(fast.plan, batch, precision, driver)),
        "wrong": "" if len(columns) else "no block left a record",
    }


def warm(replay: Any, seconds: float) -> dict[str, Any] | None:
    """Keeps the GPU busy; returns its clocks then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(10):
            replay()
        torch.cuda.synchronize()
    return clocks.read()


def known_chunks(plan: Plan, batch: int, precision: str, driver: str) -> Mapping[str, float]:
    """Of a block of each step, as the time model counts them; none where that does not answer."""
    try:
        return chunks_of(plan, batch, precision=precision, driver=driver)
    except Exception as error:
        print(f"chunks are not known: {one_line(error)}")
        return {}


def save(file: Path, folder: Path, columns: np.ndarray, names: Sequence[str]) -> None:
    """Every so many of the records, whole or not at all."""
    stride = max(1, -(-len(columns) // MOST))
    temporary = folder / f"{file.name}.new"
    with temporary.open("wb") as stream:
        np.savez_compressed(
            stream, columns=np.array(COLUMNS), steps=np.array(names), stride=stride, rows=columns[::stride]
        )
    os.replace(temporary, file)


def clock_step(columns: np.ndarray) -> int | None:
    """Nanoseconds of the shortest difference between two times that differ: the clock's resolution, where it is met."""
    different = np.diff(np.unique(columns[:, COLUMNS.index("start") :]))
    return int(different.min()) if len(different) else None


def _column(rows: np.ndarray, name: str) -> np.ndarray:
    return rows[:, COLUMNS.index(name)]


def _phase(rows: np.ndarray, name: str) -> np.ndarray:
    begin, end = PHASES[name]
    return _column(rows, end) - _column(rows, begin)


def launches(columns: np.ndarray) -> list[dict[str, float]]:
    """Of each launch, in nanoseconds: when its first block began and its last was done, after the pass began; medians
    of a block's phases; and the longest block.
    """
    return [
        {
            "launch": int(launch),
            "blocks": len(rows),
            "begin": int(_column(rows, "start").min()),
            "end": int(_column(rows, "done").max()),
            **{phase: float(np.median(_phase(rows, phase))) for phase in PHASES},
            "longest": int((_column(rows, "done") - _column(rows, "ready")).max()),
        }
        for launch, rows in _groups(columns, "launch")
    ]


def steps(columns: np.ndarray, names: Sequence[str], chunks: Mapping[str, float]) -> list[dict[str, Any]]:
    """Of each step: its blocks and the multiprocessors that they ran on, the :data:`SPREAD` of each phase in
    nanoseconds, and the chunks of K of a block, with the median of what one took.
    """
    found = []
    for number, rows in _groups(columns, "step"):
        name = names[int(number)]
        line: dict[str, Any] = {"step": name, "launch": int(rows[0, COLUMNS.index("launch")]), "blocks": len(rows)}
        line["multiprocessors"] = len(np.unique(_column(rows, "multiprocessor")))
        line |= {phase: np.percentile(_phase(rows, phase), SPREAD).tolist() for phase in PHASES}
        if chunks.get(name):
            line |= {"chunks": chunks[name], "chunk": float(np.median(_phase(rows, "loop"))) / chunks[name]}
        found.append(line)
    return found


def _groups(columns: np.ndarray, name: str) -> list[tuple[int, np.ndarray]]:
    """Rows by the value of a column, ascending."""
    values = _column(columns, name)
    return [(int(value), columns[values == value]) for value in np.unique(values)]


if __name__ == "__main__":
    main(run)
