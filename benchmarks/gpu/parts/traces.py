"""Where the blocks of a pass spend their time, by the GPU's own clock.

All records are in a file, and a summary of each launch is in the journal.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import product
from statistics import median
from typing import Any

import torch

from benchmarks.gpu.networks import Truth, device_of, fast_model
from benchmarks.gpu.setting import DRIVERS
from benchmarks.gpu.worker import Skip, Visit, main
from inception_fast.errors import BackendUnavailableError

Record = Mapping[str, int]


def run(visit: Visit) -> None:
    precision = visit.setting.precisions[0]
    for batch, driver in product(visit.setting.batches[:2], DRIVERS):
        visit.case(f"{driver}-batch{batch}", lambda d=driver, b=batch: trace(visit, d, precision, b), 15)


def trace(visit: Visit, driver: str, precision: str, batch: int) -> dict[str, Any]:
    """One pass after three that warm up."""
    try:
        fast = fast_model(visit.work, visit.setting, driver, precision)
    except BackendUnavailableError as error:
        raise Skip(str(error)) from error
    device = device_of(visit.setting)
    x = Truth.load(visit.work).batch(batch).images.to(device, getattr(torch, fast.plan.io_dtype))
    _, executor = fast.executor_for(device)
    tracing = getattr(executor, "trace", None)
    if tracing is None:
        raise Skip("the cuda backend's executor has no trace")
    for _ in range(3):
        fast(x)
    records = [columns(record) for record in tracing(x)]
    names = list(records[0]) if records else []
    rows = [[record[name] for name in names] for record in records]
    file = visit.artifacts / f"trace-{driver}-batch{batch}.json.gz"
    with gzip.open(file, "wt") as stream:
        json.dump({"driver": driver, "batch": batch, "columns": names, "rows": rows}, stream)
    return {"blocks": len(records), "launches": summary(records), "wrong": "" if records else "no block left a record"}


def columns(record: Any) -> dict[str, int]:
    """A record as a dict, whether it is a dataclass or a named tuple."""
    if is_dataclass(record):
        return {f.name: getattr(record, f.name) for f in fields(record)}
    return record._asdict() if hasattr(record, "_asdict") else dict(record)


def summary(records: Sequence[Record]) -> list[dict[str, float]]:
    """Of each launch, in nanoseconds: when its first block began and its last was done, after the pass began; medians
    of a block's wait for earlier launches, way to the first chunk, loop and epilogue; and the longest block.
    """
    if not records:
        return []
    origin = min(record["start"] for record in records)
    launches: dict[int, list[Record]] = {}
    for record in records:
        launches.setdefault(record["launch"], []).append(record)

    def middle(blocks: Sequence[Record], begin: str, end: str) -> float:
        return float(median(block[end] - block[begin] for block in blocks))

    return [
        {
            "launch": launch,
            "blocks": len(blocks),
            "begin": min(block["start"] for block in blocks) - origin,
            "end": max(block["done"] for block in blocks) - origin,
            "wait": middle(blocks, "start", "ready"),
            "fill": middle(blocks, "ready", "first_chunk"),
            "loop": middle(blocks, "first_chunk", "loop_end"),
            "epilogue": middle(blocks, "loop_end", "done"),
            "longest": max(block["done"] - block["ready"] for block in blocks),
        }
        for launch, blocks in sorted(launches.items())
    ]


if __name__ == "__main__":
    main(run)
