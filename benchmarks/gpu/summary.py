"""What a visit prints last: what became of its parts, and the figures that decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.gpu.journal import Line, cases_of
from benchmarks.gpu.part import FAILED, STOPPED
from benchmarks.tables import REPLAY, rows_of

MOST = 11_000
"""Characters: a terminal that keeps the end of an output keeps all of it."""
BEST = 6
"""Variants of a batch size that are shown."""
WIDEST = 100
"""Characters of a reason."""


def summary(lines: Sequence[Line]) -> str:
    """All tables, the parts' last and never cut off."""
    parts = _parts(lines)
    before = "\n\n".join(filter(None, (_wrong(lines), _contests(lines), _variants(lines))))
    room = MOST - len(parts)
    return f"{before if len(before) <= room else before[:room] + ' [...]'}\n\n{parts}"


def _parts(lines: Sequence[Line]) -> str:
    entries = [line for line in lines if line["kind"] == "part"]
    rows = [(e["part"], e["outcome"], f"{e['seconds']:.0f}", e["reason"][:WIDEST]) for e in entries]
    return table(("part", "outcome", "s", "reason"), rows)


def _wrong(lines: Sequence[Line]) -> str:
    cases = [line for line in lines if line["kind"] == "case" and line["outcome"] in (FAILED, STOPPED)]
    tests = [(line["part"], line["test"], "", line["reason"][:WIDEST]) for line in lines if line["kind"] == "test"]
    rows = [(c["part"], c["case"], c["outcome"], c["reason"][:WIDEST]) for c in cases]
    return table(("part", "case", "outcome", "reason"), [*rows, *tests[:12]]) if rows or tests else ""


def _contests(lines: Sequence[Line]) -> str:
    ended = [line for part in ("timing", "torch_compile") for line in cases_of(lines, part).values()]
    rows = [_row(line["contest"], row) for line in ended if "contest" in line for row in rows_of(line["contest"])]
    return table(("batch", "precision", "contestant", "us", "p10", "p90", "result", "images/s"), rows) if rows else ""


def _row(contest: Any, row: Any) -> tuple[str, ...]:
    rate = f"{contest['batch'] / row['seconds']['median']:.0f}"
    return (str(contest["batch"]), contest["precision"], row["name"], *_time(row), rate)


def _variants(lines: Sequence[Line]) -> str:
    """The fastest of each batch size, over the backend's own choice."""
    by_batch: dict[int, list[Any]] = {}
    for line in cases_of(lines, "variants").values():
        if "contest" in line:
            by_batch.setdefault(line["contest"]["batch"], []).extend(rows_of(line["contest"]))
    rows = [
        (
            str(batch),
            row["name"],
            *_time(row),
            "" if row["ratio"]["median"] is None else f"{row['ratio']['median']:.3f}",
        )
        for batch, found in sorted(by_batch.items())
        for row in sorted(_device_alone(found), key=_ratio)[:BEST]
    ]
    return table(("batch", "variant", "us", "p10", "p90", "result", "ratio"), rows) if rows else ""


def _device_alone(rows: Sequence[Any]) -> Sequence[Any]:
    """Replays; calls where there are none."""
    return [row for row in rows if row["name"].endswith(REPLAY)] or rows


def _ratio(row: Any) -> float:
    """Over the baseline; last where the baseline has no such time."""
    ratio = row["ratio"]["median"]
    return float("inf") if ratio is None else float(ratio)


def _time(row: Any) -> tuple[str, ...]:
    s = row["seconds"]
    return (*(f"{1e6 * s[key]:.1f}" for key in ("median", "p10", "p90")), "ok" if row["correct"] else "WRONG")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under a header, in columns; the package's own table would need the package."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)
