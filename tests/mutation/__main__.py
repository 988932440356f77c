"""``python -m tests.mutation [FILE ...] [--sample N]``: changes the source in one place at a time, in a copy of the
tree, and runs the quick tests of that place.

What no test notices is a survivor: a line on stdout. Every outcome is a line of ``--output``; those that are there
already are not tried again. A changed program that does not end counts as noticed: pytest-timeout ends it, and a limit
on the whole where it hangs outside of a test. The tests run in forks of this process, which has imported PyTorch once.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import hypothesis  # noqa: F401
import pytest
import torch.export
import torch.testing  # noqa: F401

from tests.mutation.operators import Mutation, mutations

ROOT = Path(__file__).parents[2]
SECONDS, SECONDS_IN_ALL = 60, 900
"""For one test, and for the tests of one mutation."""
CONFORMANCE = ("tests/backends/test_conformance.py", "-k", "not triton and not cpu")
TESTS: dict[str, tuple[str, ...]] = {
    "inception_fast/graph/passes/": ("tests/graph/passes",),
    "inception_fast/graph/": ("tests/graph",),
    "inception_fast/plan/lower.py": ("tests/plan/test_lower.py", *CONFORMANCE),
    "inception_fast/plan/placement.py": ("tests/plan/test_lower.py", *CONFORMANCE),
    "inception_fast/plan/": ("tests/plan",),
    "inception_fast/backends/torch": (
        "tests/backends/test_torch_convs.py",
        "tests/backends/test_torch_range.py",
        "tests/backends/test_pool_sizes.py",
        "tests/backends/test_pieces.py",
        "tests/backends/test_unmerge.py",
        *CONFORMANCE,
    ),
    "inception_fast/backends/reference.py": (
        "tests/backends/test_torch_convs.py",
        "tests/backends/test_pool_sizes.py",
        *CONFORMANCE,
    ),
}
"""The tests of a file: those of the first entry that its name begins with, and before them a test file of its name."""
KILLED, SURVIVED = "killed", "survived"


@dataclass(frozen=True)
class Trial:
    """One mutation of one file."""

    file: str
    mutation: Mutation

    @property
    def name(self) -> str:
        return f"{self.file}:{self.mutation.line}: {self.mutation.what}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("files", nargs="*", help="default: all whose tests are known")
    parser.add_argument("--sample", type=int, metavar="N", help="so many of them, drawn with --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "mutation.jsonl")
    args = parser.parse_args()
    args.output.parent.mkdir(parents=True, exist_ok=True)
    done = finished(args.output)
    trials = [t for file in args.files or known_files() for t in trials_of(file)]
    if args.sample is not None:
        trials = random.Random(args.seed).sample(trials, min(args.sample, len(trials)))
    counts = {KILLED: 0, SURVIVED: 0}
    with tempfile.TemporaryDirectory() as folder, args.output.open("a") as output:
        tree = copy_tree(Path(folder))
        for trial in trials:
            if trial.name in done:
                continue
            outcome = run(trial, tree)
            counts[outcome] += 1
            print(json.dumps({"mutation": trial.name, "outcome": outcome}), file=output, flush=True)
            if outcome == SURVIVED:
                print(trial.name, flush=True)
    print(f"{counts[KILLED]} noticed, {counts[SURVIVED]} not", file=sys.stderr)
    return 0


def finished(output: Path) -> set[str]:
    """Names of the trials whose outcome is in a file."""
    lines = output.read_text().splitlines() if output.exists() else []
    return {json.loads(line)["mutation"] for line in lines}


def known_files() -> list[str]:
    """Every file that has an entry in TESTS."""
    paths = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "inception_fast").rglob("*.py"))
    return [path for path in paths if pytest_arguments(path)]


def pytest_arguments(file: str) -> tuple[str, ...]:
    """pytest's arguments for a file of the package; none where it has no tests here."""
    tests = next((tests for prefix, tests in TESTS.items() if file.startswith(prefix)), ())
    own = sorted((ROOT / tests[0]).rglob(f"test_{Path(file).stem}.py")) if tests else []
    return (*(str(path.relative_to(ROOT)) for path in own), *tests)


def trials_of(file: str) -> list[Trial]:
    return [Trial(file, mutation) for mutation in mutations((ROOT / file).read_text())]


def copy_tree(folder: Path) -> Path:
    """What tests need of the tree, where it can be changed."""
    for name in ("inception_fast", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "CMakeLists.txt"):
        shutil.copy2(ROOT / name, folder)
    return folder


def run(trial: Trial, tree: Path) -> str:
    """Whether a test of the mutated file fails."""
    path = tree / trial.file
    original = path.read_text()
    path.write_text(trial.mutation.source)
    try:
        child = multiprocessing.get_context("fork").Process(target=run_tests, args=(tree, pytest_arguments(trial.file)))
        child.start()
        child.join(SECONDS_IN_ALL)
        if child.is_alive():
            child.kill()
            child.join()
    finally:
        path.write_text(original)
        # A compiled file is told from an older one by seconds and size.
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()
    return KILLED if child.exitcode else SURVIVED


def run_tests(tree: Path, arguments: tuple[str, ...]) -> None:
    """Runs the tests of a tree in this process, which has imported nothing of it, and ends it with pytest's status."""
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(silence, stream.fileno())
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "inception_fast")]:
        del sys.modules[name]
    os.chdir(tree)
    sys.path[:0] = [str(tree)]
    os.environ["PYTHONPATH"] = str(tree)
    options = ("-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "--timeout", str(SECONDS))
    # Threads of a hung test, or handlers that wait for them, must not keep the process.
    os._exit(pytest.main([*options, *arguments]))


if __name__ == "__main__":
    sys.exit(main())
