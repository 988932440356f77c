"""The contests of a visit as ``inception-fast bench --json`` writes them, for ``benchmarks.tables``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.gpu.journal import Line, cases_of


def bench_record(lines: Sequence[Line], part: str, header: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of a part's contests, batches ascending; None where there are none, or where it is not known.

    Args:
        header: has the visit's ``command``, ``commit``, ``digest`` and ``device``.
    """
    contests = merged(line["contest"] for line in cases_of(lines, part).values() if "contest" in line)
    seen = cases_of(lines, "environment").get("torch", {})
    networks = cases_of(lines, "networks").get("truth", {})
    if not contests or "environment" not in seen:
        return None
    environment = dict(seen["environment"])
    environment["command"] = header["command"]
    environment["digest"] = header["digest"]
    environment["commit"] = header["commit"] or environment["commit"] or f"sources {header['digest']}"
    return {
        "environment": environment,
        "device": header["device"],
        "threads": seen.get("threads"),
        "inputs": networks.get("images"),
        "requirements": [],
        "contests": sorted(contests, key=lambda contest: contest["batch"]),
        "ok": not any(contest["failures"] for contest in contests),
    }


def merged(contests: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One contest of each batch size and precision, with the rows of all that were held.

    A contestant's row is that of the first contest which has it; the ratios of another contest stay over the rounds of
    that one, whose baseline is the same contestant.
    """
    found: dict[tuple[Any, Any], dict[str, Any]] = {}
    for contest in contests:
        key = contest["batch"], contest["precision"]
        if key not in found:
            found[key] = dict(contest)
            continue
        first = found[key]
        known = {row["name"] for row in first["rows"]}
        first["rows"] = [*first["rows"], *(row for row in contest["rows"] if row["name"] not in known)]
        first["skipped"] = {**contest.get("skipped", {}), **first.get("skipped", {})}
        first["failures"] = [*first["failures"], *contest["failures"]]
    return list(found.values())
