"""The tests that are marked ``gpu``, in many processes where pytest-xdist is installed.

Each that fails is a line of the journal as soon as it has.
"""

from __future__ import annotations

import importlib.util
import time
from collections import Counter
from typing import Any

from benchmarks.gpu.source_digest import ROOT
from benchmarks.gpu.worker import Skip, Visit, main

PROCESSES = 12
DRY_TESTS = "tests/cuda/test_on_device.py"
NO_TESTS = 5
"""Pytest's exit status where all tests are left out."""
WORDS = 300
"""Characters of why a test failed."""


class Reporter:
    """A pytest plugin that counts, and reports failures."""

    def __init__(self, visit: Visit) -> None:
        self._visit, self.outcomes = visit, Counter[str]()

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when != "call" and report.outcome == "passed":
            return
        self.outcomes[report.outcome] += 1
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            words = str(crash.message if crash else report.longrepr)[:WORDS]
            self._visit.journal.append("test", part=self._visit.part, test=report.nodeid, reason=words)


def run(visit: Visit) -> None:
    visit.case("pytest", lambda: tests(visit), 600)


def tests(visit: Visit) -> dict[str, Any]:
    """All of them; those that the limit cuts off are missing from the counts, which the case then does not report."""
    if importlib.util.find_spec("pytest") is None:
        raise Skip("pytest is not installed")
    import pytest

    reporter, words = Reporter(visit), ["-q", "-m", "gpu", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
    if visit.setting.on_gpu and importlib.util.find_spec("xdist"):
        words += ["--numprocesses", str(PROCESSES)]
    where = "tests" if visit.setting.on_gpu else DRY_TESTS
    begun = time.monotonic()
    status = int(pytest.main([*words, str(ROOT / where)], plugins=[reporter]))
    counts = dict(reporter.outcomes)
    wrong = f"{counts.get('failed', 0)} failed" if counts.get("failed") else ""
    wrong = wrong or ("" if status in (0, NO_TESTS) else f"pytest ended with exit status {status}")
    return {"counts": counts, "took": round(time.monotonic() - begun, 1), "wrong": wrong}


if __name__ == "__main__":
    main(run)
