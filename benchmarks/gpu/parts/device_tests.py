"""The tests that are marked ``gpu``, the CUDA kernels' first, in many processes."""

from __future__ import annotations

import importlib.util
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.gpu.source_digest import ROOT
from benchmarks.gpu.worker import Skip, Visit, main

PROCESSES = 12
DRY_TESTS = "tests/cuda/test_on_device.py"
ORDER = ("cuda", "backends", "triton/test_on_device.py", "api", "bench")
"""Folders and files of ``tests``; the others come behind."""
MARKED = re.compile(r"\bmark\.gpu\b|\brequires_triton\b")
"""In a file with such tests: the mark, or what stands for it where there is a GPU."""
NO_TESTS = 5
"""Pytest's exit status where all tests are left out."""
WORDS = 300
"""Characters of why a test failed."""
BETWEEN = 5.0
"""Seconds between two counts in the journal."""


class Reporter:
    """A pytest plugin that counts, and reports failures and files that cannot be collected."""

    def __init__(self, visit: Visit) -> None:
        self._visit, self.outcomes = visit, Counter[str]()
        self._broken: set[str] = set()
        self._counted = time.monotonic()

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when != "call" and report.outcome == "passed":
            return
        self.outcomes[report.outcome] += 1
        if report.failed:
            self._failed(report)
        if time.monotonic() - self._counted >= BETWEEN:
            self._counted = time.monotonic()
            self._visit.journal.append("counts", part=self._visit.part, counts=dict(self.outcomes))

    def pytest_collectreport(self, report: Any) -> None:
        # Each process collects all files, and says so.
        if report.failed and report.nodeid not in self._broken:
            self._broken.add(report.nodeid)
            self.outcomes["not collected"] += 1
            self._failed(report)

    def _failed(self, report: Any) -> None:
        crash = getattr(report.longrepr, "reprcrash", None)
        text = str(crash.message if crash else report.longrepr)
        # A file that cannot be collected says why in the end.
        words = text[-WORDS:] if report.when == "collect" else text[:WORDS]
        self._visit.journal.append("test", part=self._visit.part, test=report.nodeid, reason=words)


def run(visit: Visit) -> None:
    visit.case("pytest", lambda: tests(visit), 600)


def tests(visit: Visit) -> dict[str, Any]:
    """All of them; where the limit cuts some off, the last counts in the journal are those of the others."""
    if importlib.util.find_spec("pytest") is None:
        raise Skip("pytest is not installed")
    import pytest

    reporter, words = Reporter(visit), ["-q", "-m", "gpu", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
    words.append("--continue-on-collection-errors")
    if visit.setting.on_gpu and importlib.util.find_spec("xdist"):
        words += ["--numprocesses", str(PROCESSES)]
    files = gpu_tests(ROOT / "tests") if visit.setting.on_gpu else [ROOT / DRY_TESTS]
    begun = time.monotonic()
    status = int(pytest.main([*words, *map(str, files)], plugins=[reporter]))
    counts = dict(reporter.outcomes)
    wrong = ", ".join(f"{counts[how]} {how}" for how in ("failed", "not collected") if counts.get(how))
    wrong = wrong or ("" if status in (0, NO_TESTS) else f"pytest ended with exit status {status}")
    return {"counts": counts, "took": round(time.monotonic() - begun, 1), "wrong": wrong}


def gpu_tests(folder: Path) -> list[Path]:
    """The files that hold such tests, as :data:`ORDER` has them: others may need packages that are not there."""
    found = [path for path in sorted(folder.rglob("test_*.py")) if MARKED.search(path.read_text())]

    def place(path: Path) -> int:
        inside = path.relative_to(folder)
        return next((i for i, name in enumerate(ORDER) if inside.is_relative_to(name)), len(ORDER))

    return sorted(found, key=place)


if __name__ == "__main__":
    main(run)
