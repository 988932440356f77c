"""The plots show what the records hold, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.plot import Curve, Roofline, curves, plot_machine, roofline


def _record(batch: int, *names: str, model: str = "inception_v3", seconds: float = 0.5) -> dict[str, Any]:
    row = {
        "seconds": {"median": seconds, "p10": seconds - 0.1, "p90": seconds + 0.1},
        "ratio": {"median": 1.25},
        "correct": True,
    }
    rows = [{"name": n, "ours": n == "ours", **row} for n in names]
    contest = {"model": model, "precision": "fp16", "batch": batch, "rows": rows}
    return {
        "environment": {"gpu": None, "cpu": {"model": "a processor"}},
        "threads": 2,
        "device": "cpu",
        "contests": [contest],
    }


def test_curves_are_sorted_by_batch_and_the_later_record_counts() -> None:
    records = [_record(8, "ours", "eager"), _record(1, "ours"), _record(8, "ours", seconds=2.0)]
    assert curves(records) == {
        ("inception_v3", "fp16"): [
            Curve("ours", ((1, 0.5, 0.4, 0.6), (8, 2.0, 1.9, 2.1))),
            Curve("eager", ((8, 0.5, 0.4, 0.6),)),
        ]
    }


def test_a_single_batch_size_is_no_curve() -> None:
    assert curves([_record(1, "ours"), _record(8, "ours", model="googlenet")]) == {}


def test_roofline_needs_measured_limits() -> None:
    kernel = {"operations": 600, "traffic": 20, "ours": {"median": 2.0}}
    record = {"kernels": [kernel], "peak": {"operations_per_second": 1e12, "bytes_per_second": 1e10}}
    assert roofline(record) == Roofline(1e12, 1e10, ((30.0, 300.0),))
    assert roofline({"kernels": [kernel], "peak": None}) is None
    assert roofline({"kernels": [kernel]}) is None


def test_plots_of_a_machine(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    folder = tmp_path / "machine"
    folder.mkdir()
    for batch in (1, 8):
        (folder / f"bench-{batch}.json").write_text(json.dumps(_record(batch, "ours", "torch.compile")))
    kernel = {"operations": 600, "traffic": 20, "ours": {"median": 2.0}}
    record = {"kernels": [kernel], "peak": {"operations_per_second": 1e12, "bytes_per_second": 1e10}}
    (folder / "kernels-1.json").write_text(json.dumps(record))
    files = plot_machine(folder, tmp_path / "images")
    names = ["machine-ratios.svg", "machine-latency.svg", "machine-throughput.svg", "machine-kernels-1.svg"]
    assert [f.name for f in files] == names
    before = [f.read_text() for f in files]
    assert all("a processor, 2 threads" in t and "torch.compile" in t for t in before[:3])
    assert "torch.compile, 1.25x" in before[0] and "inception_v3, fp16, batch 8" in before[0]
    assert "measured limit" in before[3]
    assert [f.read_text() for f in plot_machine(folder, tmp_path / "images")] == before
