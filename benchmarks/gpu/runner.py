"""Runs the parts of a visit within its budget of time: one that fails, dies or hangs is named, and the next begins."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.journal import Journal, cases_of, open_case
from benchmarks.gpu.part import FAILED, HELD, NO_TIME, SKIPPED, STOPPED, Entry, Part, phases
from benchmarks.gpu.process import ProcessGroup

SHORTEST = 3.0
"""Seconds; with less left no part is begun."""
POLL = 0.05
"""Seconds between two looks at the processes."""
RESTARTS = 8
"""Of a part whose process died, for the cases that it had not come to."""


@dataclass
class _Running:
    part: Part
    process: ProcessGroup
    begun: float
    limit: float
    ended: int
    """Cases that had ended when the process was started."""
    restarts: int = 0


class Runner:
    """Runs parts.

    Args:
        work: folder of what parts leave for each other; output of a part's process goes to ``logs/`` in it.
        setting: name of a :class:`benchmarks.gpu.setting.Setting`.
        environment: variables for all parts.
        budget: seconds from now.
        noted: told each entry as soon as it is known.
        ended: whether the visit is to end now.
        root: of the sources.
    """

    def __init__(
        self,
        work: Path,
        journal: Journal,
        setting: str,
        environment: Mapping[str, str],
        budget: float,
        noted: Callable[[Entry], None],
        ended: Callable[[], bool],
        root: Path,
    ) -> None:
        self._work, self._journal, self._setting, self._environment = work, journal, setting, environment
        self._noted, self._ended, self._root = noted, ended, root
        self._end = time.monotonic() + budget
        self._running: list[_Running] = []
        (work / "logs").mkdir(parents=True, exist_ok=True)

    def run(self, parts: Sequence[Part], done: frozenset[str] = frozenset()) -> None:
        """Runs parts, but not those of the names ``done``. However it ends, no process is left."""
        waiting = phases(part for part in parts if part.name not in done)
        try:
            while waiting and not self._ended():
                self._start_ready(waiting[0])
                self._look()
                if not waiting[0] and not self._running:
                    del waiting[0]
                    continue
                time.sleep(POLL)
        finally:
            self._stop([part for phase in waiting for part in phase])

    def _start_ready(self, parts: list[Part]) -> None:
        """Starts those that wait for none of their phase, and takes them off the list."""
        open_parts = {part.name for part in parts} | {running.part.name for running in self._running}
        for part in [part for part in parts if part.after not in open_parts]:
            parts.remove(part)
            self._start(part)

    def _start(self, part: Part) -> None:
        left = self._end - time.monotonic()
        if left < SHORTEST:
            self._note(part, NO_TIME, 0.0)
            return
        try:
            running = _Running(part, self._launch(part, min(part.seconds, left)), time.monotonic(), 0.0, 0)
        except OSError as error:
            self._note(part, FAILED, 0.0, str(error))
            return
        running.limit = running.begun + min(part.seconds, left)
        running.ended = len(cases_of(self._journal.lines(), part.name))
        self._running.append(running)

    def _launch(self, part: Part, seconds: float) -> ProcessGroup:
        told = ["--work", str(self._work), "--setting", self._setting, "--seconds", f"{seconds:.1f}"]
        told += ["--part", part.name, *(word for file in self._journal.files for word in ("--journal", str(file)))]
        command = [sys.executable, "-m", part.program, *told, *part.arguments]
        log = self._work / "logs" / f"{part.name}.log"
        return ProcessGroup(command, log, self._environment, self._root, part.nice)

    def _look(self) -> None:
        for running in list(self._running):
            status, now = running.process.status(), time.monotonic()
            if status is None and now < running.limit:
                continue
            running.process.end()
            if status is None:
                self._close_case(running, STOPPED, "it took too long")
                self._finish(running, STOPPED, f"stopped after {now - running.begun:.0f} s")
            elif status == 0:
                self._finish(running, "", "")
            else:
                self._after_death(running, status)

    def _after_death(self, running: _Running, status: int) -> None:
        """Goes on behind the case that the process died in, if it got that far."""
        words = f"its process ended with {f'signal {-status}' if status < 0 else f'exit status {status}'}"
        self._close_case(running, FAILED, words)
        ended, left = len(cases_of(self._journal.lines(), running.part.name)), running.limit - time.monotonic()
        if ended == running.ended or running.restarts == RESTARTS:
            self._finish(running, FAILED, f"{words}; see its log")
        elif left < SHORTEST:
            self._finish(running, "", "")
        else:
            running.ended, running.restarts = ended, running.restarts + 1
            running.process = self._launch(running.part, left)

    def _close_case(self, running: _Running, outcome: str, reason: str) -> None:
        """Says what became of the case that the process was in, if it was in one."""
        begun = open_case(self._journal.lines(), running.part.name)
        if begun is None:
            return
        if outcome == FAILED and time.time() - begun["at"] >= begun["limit"]:
            outcome, reason = STOPPED, f"it took more than {begun['limit']:.1f} s; its log says where it was"
        self._journal.append("case", part=running.part.name, case=begun["case"], outcome=outcome, reason=reason)

    def _finish(self, running: _Running, outcome: str, reason: str) -> None:
        """Notes a part; its outcome follows from its cases where none is given."""
        self._running.remove(running)
        cases = cases_of(self._journal.lines(), running.part.name)
        wrong = [name for name, line in cases.items() if line["outcome"] in (FAILED, STOPPED)]
        skipped = {line["reason"]: None for line in cases.values() if line["outcome"] == SKIPPED}
        if not outcome:
            if wrong:
                outcome = FAILED if any(cases[name]["outcome"] == FAILED for name in wrong) else STOPPED
                reason = f"{len(wrong)} of {len(cases)} cases: {', '.join(wrong[:4])}"
            elif late := [name for name, line in cases.items() if line["outcome"] == NO_TIME]:
                outcome, reason = NO_TIME, f"for {len(late)} of {len(cases)} cases: {', '.join(late[:4])}"
            elif cases and all(line["outcome"] == SKIPPED for line in cases.values()):
                outcome, reason = SKIPPED, "; ".join(skipped)
            else:
                outcome, reason = HELD, "; ".join(f"without: {why}" for why in skipped)
        self._note(running.part, outcome, time.monotonic() - running.begun, reason)

    def _stop(self, waiting: Sequence[Part]) -> None:
        """Ends what runs and names what was not begun, when the visit is ended from outside."""
        running, self._running = self._running, []
        for one in running:
            one.process.end()
            self._close_case(one, STOPPED, "the visit was ended")
            self._note(one.part, STOPPED, time.monotonic() - one.begun, "the visit was ended")
        for part in waiting:
            self._note(part, NO_TIME, 0.0)

    def _note(self, part: Part, outcome: str, seconds: float, reason: str = "") -> None:
        entry = Entry(part.name, outcome, round(seconds, 1), reason)
        self._journal.append("part", part=part.name, outcome=outcome, seconds=entry.seconds, reason=reason)
        self._noted(entry)
