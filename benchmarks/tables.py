"""Puts the recorded results into the README: ``python -m benchmarks.tables``.

Every ``benchmarks/results/MACHINE/bench*.json``, as ``inception-fast bench --json`` writes it, becomes a table between
the two markers. Nothing there is written by hand.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- results -->", "<!-- /results -->"


def results_table(files: list[Path]) -> str:
    """Markdown: a table for each file, with the machine and the command that made it."""
    return "\n\n".join(_section(json.loads(file.read_text())) for file in files)


def _section(record: dict[str, Any]) -> str:
    columns: dict[str, None] = {}
    for contest in record["contests"]:
        columns.update(dict.fromkeys(row["name"] for row in contest["rows"]))
    lines = [
        "| model | batch | precision | " + " | ".join(columns) + " |",
        "| --- " * (3 + len(columns)) + "|",
        *(_line(contest, list(columns)) for contest in record["contests"]),
    ]
    return "\n".join([_caption(record), "", *lines])


def _caption(record: dict[str, Any]) -> str:
    environment = record["environment"]
    machine = environment["gpu"] or environment["cpu"]
    cores = f", {record['threads']} threads" if record["device"] == "cpu" else ""
    versions = ", ".join(f"{name} {environment['versions'][name]}" for name in ("torch", "onnxruntime", "openvino"))
    name = machine["model"] if "model" in machine else machine["name"]
    made_by = f"commit {environment['commit'][:12]}, `{environment['command']}`"
    figures = "Median milliseconds of runs taken in turns, and in brackets the time over that of the first column"
    return f"{figures}; {name}{cores}; {versions}; {made_by}."


def _line(contest: dict[str, Any], columns: list[str]) -> str:
    rows = {row["name"]: row for row in contest["rows"]}
    cells = [contest["model"], str(contest["batch"]), contest["precision"]]
    for name in columns:
        row = rows.get(name)
        cells.append("" if row is None else f"{row['seconds']['median'] * 1e3:.1f} ({row['ratio']['median']:.2f})")
    return "| " + " | ".join(cells) + " |"


def filled(text: str, table: str) -> str:
    """``text`` with ``table`` between the markers."""
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n{table}\n{END}{tail}"


def main() -> None:
    readme = ROOT / "README.md"
    files = sorted(RESULTS.glob("*/bench*.json"))
    readme.write_text(filled(readme.read_text(), results_table(files)))
    print(f"{len(files)} files of results into {readme.name}", file=sys.stderr)


if __name__ == "__main__":
    main()
