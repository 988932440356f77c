"""``python -m tests.mutation [FILE ...] [--sample N]``: changes the source in one place at a time and runs the quick
tests that run that place.

All tests run once, to see which runs what. Then each change has a fork of this process, which has imported and
collected everything, and the tests of its line, until one fails: the change is killed. What no test notices is a
survivor: a line on stdout, unless ``equivalent.json`` says why nothing could notice it. A changed program that does not
end counts as noticed. Every outcome is a line of ``--output``; those that are there already are not tried again.
"""

from __future__ import annotations

import argparse
import json
import pickle
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch.export

from tests.mutation.choice import observe
from tests.mutation.operators import mutations
from tests.mutation.running import FORKS, IMPORTED_ONCE, OPTIONS, Importer, Loaded, Trial, in_fork
from tests.mutation.swap import loaded_functions

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "inception_fast"
EQUIVALENT = Path(__file__).with_name("equivalent.json")
MUTATED = (
    *("graph/passes/", "lowering/lower.py", "lowering/placement.py", "backends/torch", "backends/reference.py"),
    *("graph/", "lowering/", "plan/", "template.py"),
)
TESTS = ("tests/graph", "tests/lowering", "tests/plan", "tests/backends", "tests/fuzz")
QUICK = ("-k", "not triton and not cuda and not cpu and not families and not packages and not capture_models")
"""Interpreter and emulator take seconds for what the other backends do in milliseconds; compiled code is as it is."""
KILLED, SURVIVED = "killed", "survived"


class Campaign:
    """A pytest plugin that tries mutations in the place of running the tests once."""

    def __init__(self, output: Path, shares: Sequence[Sequence[Trial]], importers: Sequence[Importer]) -> None:
        self._output, self._shares, self._importers = output, shares, importers

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            # Its imports are long, and every fork would make them.
            torch.export.export(torch.nn.ReLU(), (torch.zeros(1),))
            # In a fork: what the unchanged functions have cached would hide what changed ones do.
            seen = Path(folder, "observed")
            in_fork(lambda: seen.write_bytes(pickle.dumps(observe(session.items, ROOT, PACKAGE))), None)
            observed = pickle.loads(seen.read_bytes())
        print(f"{len(observed.seconds)} tests, {sum(observed.seconds.values()):.0f} s", file=sys.stderr, flush=True)
        loaded = Loaded(ROOT, {item.nodeid: item for item in session.items}, observed, loaded_functions(PACKAGE))
        workers = [
            FORKS.Process(target=self._try, args=(share, loaded, importer))
            for share, importer in zip(self._shares, self._importers, strict=True)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return True

    def _try(self, trials: Sequence[Trial], loaded: Loaded, importer: Importer) -> None:
        for trial in trials:
            tests = loaded.observed.of_line(trial.file, trial.mutation.line)
            status = in_fork(lambda: loaded.run(trial, tests))  # noqa: B023
            if status == IMPORTED_ONCE:
                tests = loaded.observed.of_file(trial.file)
                status = importer.run(trial, tests)
            line = {
                "mutation": trial.name,
                "line": trial.mutation.line,
                "outcome": KILLED if status else SURVIVED,
                "tests": len(tests),
            }
            with self._output.open("a") as output:
                print(json.dumps(line), file=output)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("files", nargs="*", help=f"default: {', '.join(MUTATED)} of inception_fast")
    parser.add_argument("--sample", type=int, metavar="N", help="so many mutations, drawn with --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="that try mutations side by side")
    parser.add_argument("--tests", nargs="*", default=TESTS, metavar="PATH", help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "mutation.jsonl")
    args = parser.parse_args()
    args.output.parent.mkdir(parents=True, exist_ok=True)
    trials = [trial for file in args.files or known_files() for trial in trials_of(file)]
    if args.sample is not None:
        trials = random.Random(args.seed).sample(trials, min(args.sample, len(trials)))
    outcomes = read(args.output)
    left = [trial for trial in trials if trial.name not in outcomes]
    if left:
        shares = [left[part :: args.processes] for part in range(args.processes)]
        with ExitStack() as stack:
            importers = [stack.enter_context(Importer(ROOT)) for _ in shares]
            pytest.main([*OPTIONS, *QUICK, *args.tests], plugins=[Campaign(args.output, shares, importers)])
        outcomes = read(args.output)
    return report([trial.name for trial in trials], outcomes, json.loads(EQUIVALENT.read_text()))


def report(names: Sequence[str], outcomes: dict[str, str], equivalent: dict[str, str]) -> int:
    """Prints survivors that nothing explains; how many of those there are."""
    survivors = [name for name in names if outcomes.get(name) == SURVIVED]
    unexplained = [name for name in survivors if name not in equivalent]
    for name in unexplained:
        print(name)
    counts = Counter(outcomes.get(name, "not tried") for name in names)
    print(f"{dict(counts)}, {len(survivors) - len(unexplained)} survivors are explained", file=sys.stderr)
    return bool(unexplained)


def read(output: Path) -> dict[str, str]:
    """Outcome by name of the trials in a file."""
    lines = output.read_text().splitlines() if output.exists() else []
    return {found["mutation"]: found["outcome"] for found in map(json.loads, lines)}


def known_files() -> list[str]:
    """Every file that is mutated, in the order of MUTATED."""
    paths = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
    files = [path for prefix in MUTATED for path in paths if path.startswith(prefix)]
    return [f"inception_fast/{path}" for path in dict.fromkeys(files)]


def trials_of(file: str) -> list[Trial]:
    return [Trial(file, mutation) for mutation in mutations((ROOT / file).read_text())]


if __name__ == "__main__":
    sys.exit(main())
