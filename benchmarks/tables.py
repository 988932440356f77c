"""Puts the recorded results into ``docs/benchmarks.md`` and the README: ``python -m benchmarks.tables``.

The ``benchmarks/results/MACHINE/bench*.json``, as ``inception-fast bench --json`` writes them, become tables between
two markers: one for all files of one machine that are of the same commit and versions. The README has a line of each
contest, and a sentence. Nothing there is written by hand.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENT = ROOT / "docs" / "benchmarks.md"
README = ROOT / "README.md"
VERSIONS = {"cpu": ("torch", "onnxruntime", "openvino"), "cuda": ("torch", "triton", "jax")}
FIGURES = "Median milliseconds of runs taken in turns, and in brackets the time over that of the first column"
REPLAYS = " (a replay's: over its replays)"


def results_table(files: Iterable[Path]) -> str:
    """Markdown: the tables, each with the machine and where to find the commands that made it."""
    groups: dict[tuple[str, ...], list[tuple[Path, dict[str, Any]]]] = {}
    for file in files:
        record = json.loads(file.read_text())
        key = (file.parent.name, record["environment"]["commit"], versions_of(record), *_columns([record]))
        groups.setdefault(key, []).append((file, record))
    return "\n\n".join(_section(group) for group in groups.values())


REPLAY = ", replay"
"""After the name of a contestant: what its pass takes on the device alone, many in a row."""


def rows_of(contest: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a contest: of each contestant its calls, and its replays where it has some."""
    found = []
    for row in contest["rows"]:
        found.append(row)
        replays = row.get("replays")
        if replays:
            ratio = replays["ratio"] or {"median": None}
            name = f"{row['name']}{REPLAY}"
            found.append({"name": name, "seconds": replays["seconds"], "ratio": ratio, "correct": row["correct"]})
    return found


@dataclass(frozen=True)
class Standing:
    """How a contest ended for us.

    Attributes:
        seconds: of our first backend, median.
        others: those whose results were right, from the fastest, each with its time over ours.
    """

    machine: str
    model: str
    precision: str
    batch: int
    seconds: float
    others: tuple[tuple[str, float], ...]

    def ratio_of(self, prefix: str) -> float | None:
        """Of the fastest whose name begins so."""
        return next((ratio for name, ratio in self.others if name.startswith(prefix)), None)


def standings(files: Iterable[Path]) -> list[Standing]:
    """Of every contest in some records, by model, precision and batch."""
    found = []
    for file in files:
        record = json.loads(file.read_text())
        for contest in record["contests"]:
            ours = next(row for row in contest["rows"] if row["ours"])
            others = [row for row in contest["rows"] if not row["ours"] and row["correct"]]
            ranked = sorted(((row["name"], row["ratio"]["median"]) for row in others), key=lambda other: other[1])
            named = (contest["model"], contest["precision"], contest["batch"])
            found.append(Standing(machine_of(record), *named, ours["seconds"]["median"], tuple(ranked)))
    return sorted(found, key=lambda s: (s.model, s.precision, s.batch))


def summary_table(files: Iterable[Path]) -> str:
    """Markdown: a row for each contest, with how much longer others take."""
    lines = [
        "| model | precision | batch | milliseconds | fastest other | torch.compile | eager |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for s in standings(files):
        if not s.others:
            continue
        name, ratio = s.others[0]
        rest = [_times(s.ratio_of(prefix)) for prefix in ("torch.compile", "eager")]
        cells = [s.model, s.precision, str(s.batch), _milliseconds(s.seconds), f"{name}, {_times(ratio)}", *rest]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def headline(files: Iterable[Path]) -> str:
    """A sentence on the network that the project is named after, one image at a time."""
    found = [s for s in standings(files) if (s.model, s.batch) == ("inception_v3", 1) and s.others]
    s = min(found, key=lambda s: (s.precision != "fp16", s.precision != "fp32"))
    (name, ratio), compiled, eager = s.others[0], s.ratio_of("torch.compile"), s.ratio_of("eager")
    slower = f"the fastest other, {name}, takes {_times(ratio)} as long"
    slower += "".join(f", {n} {_times(r)}" for n, r in (("torch.compile", compiled), ("eager", eager)) if r is not None)
    return f"**Inception-v3, {s.precision}, one image, {s.machine}: {_milliseconds(s.seconds)} ms; {slower}.**"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}x"


def versions_of(record: dict[str, Any]) -> str:
    """The versions that matter on the record's device, in words."""
    known = record["environment"]["versions"]
    names = VERSIONS[record["device"].partition(":")[0]]
    return ", ".join(f"{name} {known[name]}" for name in names if known.get(name))


def machine_of(record: dict[str, Any]) -> str:
    """The device's name, with the threads of a processor and the driver of a GPU."""
    gpu, cpu = record["environment"]["gpu"], record["environment"]["cpu"]
    if gpu:
        return f"{gpu['name']}, driver {gpu['driver_version']}" if "driver_version" in gpu else gpu["name"]
    return f"{cpu['model']}, {record['threads']} threads"


def _section(group: Sequence[tuple[Path, dict[str, Any]]]) -> str:
    records = [record for _, record in group]
    columns = _columns(records)
    lines = [
        "| model | batch | precision | " + " | ".join(columns) + " |",
        "| --- " * (3 + len(columns)) + "|",
        *(_line(contest, columns) for record in records for contest in record["contests"]),
    ]
    return "\n".join([_caption(group), "", *lines])


def _columns(records: Sequence[dict[str, Any]]) -> list[str]:
    rows = (row for record in records for contest in record["contests"] for row in rows_of(contest))
    return list(dict.fromkeys(row["name"] for row in rows))


def _caption(group: Sequence[tuple[Path, dict[str, Any]]]) -> str:
    file, record = group[0]
    environment = record["environment"]
    if len(group) == 1:
        made_by = f"`{environment['command']}`"
    else:
        made_by = f"commands in `benchmarks/results/{file.parent.name}/`"
    where = f"{machine_of(record)}; {versions_of(record)}"
    replayed = any(name.endswith(REPLAY) for name in _columns([each for _, each in group]))
    return f"{FIGURES}{REPLAYS if replayed else ''}; {where}; commit {environment['commit'][:12]}, {made_by}."


def _line(contest: dict[str, Any], columns: list[str]) -> str:
    rows = {row["name"]: row for row in rows_of(contest)}
    cells = [contest["model"], str(contest["batch"]), contest["precision"]]
    for name in columns:
        row = rows.get(name)
        cells.append("" if row is None else _cell(row))
    return "| " + " | ".join(cells) + " |"


def _cell(row: dict[str, Any]) -> str:
    ratio = [] if row["ratio"]["median"] is None else [f"{row['ratio']['median']:.2f}"]
    notes = ", ".join([*ratio, *([] if row["correct"] else ["wrong result"])])
    time = _milliseconds(row["seconds"]["median"])
    return f"{time} ({notes})" if notes else time


def _milliseconds(seconds: float) -> str:
    """Three digits that count: a GPU's tenths of a millisecond are not lost."""
    value = seconds * 1e3
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def filled(text: str, table: str, mark: str = "results") -> str:
    """``text`` with ``table`` between the comments ``mark`` and ``/mark``."""
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    head, rest = text.split(begin)
    _, tail = rest.split(end)
    return f"{head}{begin}\n{table}\n{end}{tail}"


def documents(files: Sequence[Path]) -> dict[Path, str]:
    """What the documents that quote results should hold."""
    summed = filled(README.read_text(), summary_table(files))
    return {
        DOCUMENT: filled(DOCUMENT.read_text(), results_table(files)),
        README: filled(summed, headline(files), "headline"),
    }


def main() -> None:
    files = sorted(RESULTS.glob("*/bench*.json"))
    for document, text in documents(files).items():
        document.write_text(text)
        print(f"{len(files)} files of results into {document.name}", file=sys.stderr)


if __name__ == "__main__":
    main()
