"""The contests of a visit as ``inception-fast bench --json`` writes them, for ``benchmarks.tables``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.gpu.journal import Line, cases_of


def bench_record(lines: Sequence[Line], part: str, header: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of a part's contests, batches ascending; None where there are none, or where it is not known.

    Args:
        header: has the visit's ``command``, ``commit``, ``digest`` and ``device``.
    """
    contests = [line["contest"] for line in cases_of(lines, part).values() if "contest" in line]
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
