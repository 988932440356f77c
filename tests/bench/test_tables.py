"""The README's figures are those of the recorded results, and the results are right ones."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.tables import RESULTS, ROOT, filled, results_table

FILES = sorted(RESULTS.glob("*/bench*.json"))


def test_readme_quotes_the_records() -> None:
    assert FILES
    text = (ROOT / "README.md").read_text()
    assert filled(text, results_table(FILES)) == text, "run python -m benchmarks.tables"


def test_every_recorded_result_was_right() -> None:
    for file in FILES:
        for contest in json.loads(file.read_text())["contests"]:
            assert contest["rows"] and all(row["correct"] for row in contest["rows"]), file.name


def test_table_has_a_cell_for_every_contestant(tmp_path: Path) -> None:
    row = {"seconds": {"median": 0.0123}, "ratio": {"median": 1.5}}
    environment = {
        "gpu": None,
        "cpu": {"model": "a processor"},
        "versions": dict.fromkeys(("torch", "onnxruntime", "openvino"), "1"),
        "commit": "0123456789abcdef",
        "command": "inception-fast bench",
    }
    contests = [
        {"model": "a", "batch": 1, "precision": "fp32", "rows": [{"name": "x", **row}]},
        {"model": "b", "batch": 8, "precision": "bf16", "rows": [{"name": "y", **row}]},
    ]
    record = {"environment": environment, "device": "cpu", "threads": 2, "contests": contests}
    file = tmp_path / "bench.json"
    file.write_text(json.dumps(record))
    lines = results_table([file]).splitlines()
    assert "a processor, 2 threads" in lines[0] and "commit 0123456789ab," in lines[0]
    assert lines[2:] == [
        "| model | batch | precision | x | y |",
        "| --- | --- | --- | --- | --- |",
        "| a | 1 | fp32 | 12.3 (1.50) |  |",
        "| b | 8 | bf16 |  | 12.3 (1.50) |",
    ]
