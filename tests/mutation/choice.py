"""Which tests a changed line is shown to, and in what order."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import coverage
import pytest

QUICK = 0.2
"""Seconds."""
MOST = 400
"""Tests of one mutation."""


@dataclass(frozen=True)
class Observed:
    """What tests ran.

    Attributes:
        tests: by file and line, those that ran it.
        seconds: by test, of those that hold.
    """

    tests: dict[str, dict[int, list[str]]]
    seconds: dict[str, float]

    def of_line(self, file: str, line: int) -> list[str]:
        """The tests that run a line; where it is the middle of a statement, those that run the lines before it."""
        lines = self.tests.get(file, {})
        nearest = max((known for known in lines if known <= line), default=None)
        return self._in_order(file, lines[nearest]) if nearest is not None else []

    def of_file(self, file: str) -> list[str]:
        """The tests that run any line of a file."""
        return self._in_order(file, dict.fromkeys(t for tests in self.tests.get(file, {}).values() for t in tests))

    def _in_order(self, file: str, tests: Iterable[str]) -> list[str]:
        """Those of the file's own name first, then a quick one of every file in turn, then the others."""
        files: dict[str, list[str]] = defaultdict(list)
        slow = []
        for test in sorted(tests, key=self.seconds.__getitem__):
            quick = self.seconds[test] < QUICK
            (files[test.partition("::")[0]] if quick else slow).append(test)
        own = files.pop(next((f for f in files if Path(f).stem == f"test_{Path(file).stem}"), ""), [])
        return [*own, *(t for row in zip_longest(*files.values()) for t in row if t is not None), *slow][:MOST]


class _Reports:
    """A pytest plugin: whether the last test held."""

    def __init__(self) -> None:
        self.passed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self.passed = report.passed
        elif not report.passed:
            self.passed = False


def observe(items: Sequence[pytest.Item], root: Path, package: Path) -> Observed:
    """Runs every test and sees what lines of a package it runs."""
    reports = _Reports()
    items[0].config.pluginmanager.register(reports)
    traced = coverage.Coverage(data_file=None, source=[str(package)], config_file=False)
    seconds = {}
    traced.start()
    for item, following in zip(items, [*items[1:], None], strict=True):
        traced.switch_context(item.nodeid)
        reports.passed, started = False, time.perf_counter()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if reports.passed:
            seconds[item.nodeid] = time.perf_counter() - started
    traced.stop()
    data = traced.get_data()
    tests = {
        str(Path(file).relative_to(root)): {
            line: [test for test in contexts if test in seconds]
            for line, contexts in data.contexts_by_lineno(file).items()
            if any(test in seconds for test in contexts)
        }
        for file in data.measured_files()
    }
    return Observed(tests, seconds)
