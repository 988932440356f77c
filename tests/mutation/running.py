"""Tests of one mutation, in forks: of a process that has everything loaded, or of one that has yet to import it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from tests.mutation.choice import Observed
from tests.mutation.operators import Mutation
from tests.mutation.swap import Functions, ImportedOnce, swap

SECONDS, SECONDS_IN_ALL = 60, 600
"""For one test, and for the tests of one mutation: what hangs is ended."""
SECONDS_TRIED = 12
"""Of a processor, after which no other test of a mutation begins."""
OPTIONS = ("-q", "--capture=no", "-p", "no:cacheprovider", "-m", "not slow and not gpu", "--timeout", str(SECONDS))
IMPORTED_ONCE = 77
"""The status of a fork that would have to import a module again."""
FORKS = get_context("fork")


@dataclass(frozen=True)
class Trial:
    """One mutation of one file."""

    file: str
    mutation: Mutation

    @property
    def name(self) -> str:
        return f"{self.file}: {self.mutation.name}"


class _EndAtFailure:
    """A pytest plugin."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            os._exit(1)


@dataclass(frozen=True)
class Loaded:
    """What this process has imported and collected, with nothing of it run.

    Attributes:
        root: the tree that it comes from.
    """

    root: Path
    items: dict[str, pytest.Item]
    observed: Observed
    functions: Functions

    def run(self, trial: Trial, tests: Sequence[str]) -> None:
        """Runs tests with the mutated functions in the place of the loaded ones; ends the process where one fails."""
        try:
            swap(self.functions, self.root / trial.file, trial.mutation.tree)
        except ImportedOnce:
            os._exit(IMPORTED_ONCE)
        items = [self.items[test] for test in tests]
        if items:
            items[0].config.pluginmanager.register(_EndAtFailure())
        for item, following in zip(items, [*items[1:], None], strict=True):
            if time.process_time() > SECONDS_TRIED:
                break
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


class Importer:
    """A process that has imported PyTorch and nothing of a tree, and forks for each mutation that has to be imported.

    A context, to be entered before this process imports anything of the tree: PyTorch's operators and compiled modules
    cannot be imported twice.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._here, self._there = FORKS.Pipe()
        self._process = FORKS.Process(target=self._serve)

    def __enter__(self) -> Importer:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._here.send(None)
        self._process.join()

    def run(self, trial: Trial, tests: Sequence[str]) -> int | None:
        """The exit status of pytest in a tree with the mutation."""
        self._here.send((trial.file, trial.mutation.source, tests))
        return self._here.recv()  # type: ignore[no-any-return]

    def _serve(self) -> None:
        import hypothesis  # noqa: F401
        import torch.export
        import torch.testing  # noqa: F401

        with tempfile.TemporaryDirectory() as folder:
            tree = copy_tree(self._root, Path(folder))
            while (request := self._there.recv()) is not None:
                file, source, tests = request
                (tree / file).write_text(source)
                status = in_fork(lambda: run_tests(tree, tests))  # noqa: B023
                shutil.copy2(self._root / file, tree / file)
                # A compiled file is told from an older one by seconds and size.
                for compiled in (tree / file).parent.glob(f"__pycache__/{Path(file).stem}.*"):
                    compiled.unlink()
                self._there.send(status)


def copy_tree(root: Path, folder: Path) -> Path:
    """What tests need of the tree, where it can be changed."""
    for name in ("inception_fast", "tests", "benchmarks"):
        shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "CMakeLists.txt"):
        shutil.copy2(root / name, folder)
    return folder


def run_tests(tree: Path, tests: Sequence[str]) -> None:
    """Runs tests of a tree in this process, and ends it with pytest's status."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    os.chdir(tree)
    sys.path[:0] = [str(tree)]
    os.environ["PYTHONPATH"] = str(tree)
    os._exit(pytest.main(["-x", *OPTIONS, *tests]) if tests else 0)


def in_fork(work: Callable[[], Any], seconds: float | None = SECONDS_IN_ALL) -> int | None:
    """The exit status of a fork of this process that does a piece of work; negative where it took too long."""

    def silent() -> None:
        silence = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(silence, stream.fileno())
        work()
        # Threads of a hung test, or handlers that wait for them, must not keep the process.
        os._exit(0)

    child = FORKS.Process(target=silent)
    child.start()
    child.join(seconds)
    if child.is_alive():
        child.kill()
        child.join()
    return child.exitcode
