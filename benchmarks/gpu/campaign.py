"""Runs jobs one after the other within a budget of time, and keeps a journal, so that nothing is lost when it ends.

Each job is a process of its own: one that hangs or takes the device down with it is stopped and named, and the next
begins.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.gpu.jobs import Job
from inception_fast.cli.output import log, write_json

HELD, FAILED, STOPPED, MISSING, NO_TIME = "held", "failed", "stopped", "not installed", "no time left"
SHORTEST = 15.0
"""Seconds; with less left no job is begun."""
TAIL = 20
"""Lines of the output of a job that did not hold, for the terminal."""


@dataclass(frozen=True)
class Entry:
    """What became of a job.

    Attributes:
        outcome: :data:`HELD`, :data:`FAILED` (exit status other than 0), :data:`STOPPED` (took too long),
            :data:`MISSING` (its program is not there) or :data:`NO_TIME` (not begun).
        seconds: that it took.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    outcome: str
    seconds: float


Execute = Callable[[Job, Path, float], str]


def execute(job: Job, output: Path, seconds: float) -> str:
    """Runs a job with its output in a file, at most so long; returns the outcome."""
    with output.open("w") as stream:
        try:
            process = subprocess.Popen(
                job.command,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=os.environ | dict(job.environment),
                start_new_session=True,
            )
        except FileNotFoundError:
            return MISSING
        try:
            return FAILED if process.wait(seconds) else HELD
        except subprocess.TimeoutExpired:
            return STOPPED
        finally:
            # Children too: one that still held the device would spoil the next job's figures.
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run(
    jobs: Sequence[Job],
    folder: Path,
    environment: Mapping[str, object],
    *,
    minutes: float,
    resume: bool = False,
    execute: Execute = execute,
    clock: Callable[[], float] = time.monotonic,
) -> list[Entry]:
    """Runs jobs until the budget is spent.

    Args:
        folder: of the results; gets ``journal.json``, and what the jobs print under ``logs/``.
        environment: of the measurement, for the journal.
        resume: leave out what held in the journal that is there, if it is of the same commit.
        execute, clock: for tests.

    Returns:
        An entry for each job that was not left out.
    """
    begin, journal, logs = clock(), folder / "journal.json", folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    kept = _held(journal, environment) if resume else []
    names = {entry["name"] for entry in kept}
    entries: list[Entry] = []
    for job in (job for job in jobs if job.name not in names):
        command = tuple(word.replace("{folder}", str(folder)) for word in job.command)
        filled = replace(job, command=command)
        started = clock()
        left = 60 * minutes - (started - begin)
        outcome = NO_TIME
        if left >= SHORTEST:
            log(f"{job.name}: at most {min(60 * job.minutes, left):.0f} s")
            outcome = execute(filled, logs / f"{job.name}.log", min(60 * job.minutes, left))
        entry = Entry(job.name, command, job.environment, outcome, round(clock() - started, 1))
        entries.append(entry)
        if outcome != NO_TIME:
            log(f"{job.name}: {outcome} after {entry.seconds} s{_tail(logs / f'{job.name}.log', outcome)}")
        write_json(journal, {"environment": environment, "jobs": [*kept, *map(asdict, entries)]})
    return entries


def _held(journal: Path, environment: Mapping[str, object]) -> list[dict[str, object]]:
    if not journal.exists():
        return []
    found = json.loads(journal.read_text())
    if found["environment"]["commit"] != environment["commit"]:
        return []
    return [entry for entry in found["jobs"] if entry["outcome"] == HELD]


def _tail(output: Path, outcome: str) -> str:
    if outcome not in (FAILED, STOPPED) or not output.exists():
        return ""
    lines = output.read_text(errors="replace").splitlines()[-TAIL:]
    return "".join(f"\n    {line}" for line in lines)
