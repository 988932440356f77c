"""What every part's program is told, and how it reports: case by case, each with a limit of its own.

A part is a module with ``run(visit: Visit)``; :func:`main` makes a program of it, which can be run alone as well:
``python -m benchmarks.gpu.parts.timing [--setting dry]``.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.gpu import clocks
from benchmarks.gpu.journal import Journal, cases_of
from benchmarks.gpu.part import FAILED, HELD, NO_TIME, SKIPPED
from benchmarks.gpu.setting import SETTINGS, Setting
from benchmarks.gpu.source_digest import ROOT, source_digest

COMMIT = "INCEPTION_FAST_COMMIT"
"""Names the commit where there is no checkout to ask."""
DEVICE_LOST = 70
"""Exit status after an error that leaves the process without its device."""


class Skip(Exception):
    """A case cannot be done here; the message is the reason."""


@dataclass
class Visit:
    """A part's view of the visit.

    Attributes:
        work: folder of what parts leave for each other.
        end: of this part, on :func:`time.monotonic`'s clock.
        arguments: what else the program was told.
    """

    part: str
    work: Path
    setting: Setting
    journal: Journal
    end: float
    arguments: tuple[str, ...] = ()

    @property
    def artifacts(self) -> Path:
        """Folder of files to bring back."""
        folder = self.work / "artifacts"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()

    def figures(self, part: str | None = None) -> dict[str, dict[str, Any]]:
        """What the cases of a part that ended have reported; by default of this one."""
        return cases_of(self.journal.lines(), part or self.part)

    def case(self, name: str, body: Callable[[], Mapping[str, Any] | None], seconds: float) -> None:
        """Does a case and reports it, unless that was done before.

        Args:
            body: returns the figures; what it raises is the reason why the case failed, or why it is skipped. Figures
                with a ``wrong`` that is not empty are those of a failure.
            seconds: after which the process is ended; the runner starts another one for the cases behind this one.
        """
        if name in self.figures():
            return
        if self.left() < 1.0:
            self._report(name, NO_TIME)
            return
        limit, begun = min(seconds, self.left()), time.monotonic()
        self.journal.append("begin", part=self.part, case=name, limit=limit)
        # Ends the process even where Python's own threads cannot run, and says in the log where it was.
        faulthandler.dump_traceback_later(limit, exit=True)
        try:
            figures = dict(body() or {})
            wrong = figures.get("wrong")
            self._report(name, FAILED if wrong else HELD, begun, reason=wrong or "", **figures)
        except Skip as reason:
            self._report(name, SKIPPED, begun, reason=str(reason))
        except Exception as error:
            traceback.print_exc()
            self._report(name, FAILED, begun, reason=one_line(error))
            if self.setting.on_gpu and not _device_answers():
                sys.stderr.flush()
                os._exit(DEVICE_LOST)
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _report(self, case: str, outcome: str, begun: float | None = None, **fields: Any) -> None:
        took = {} if begun is None else {"seconds": round(time.monotonic() - begun, 2)}
        state = {"clocks": clocks.read()} if self.setting.on_gpu else {}
        self.journal.append("case", part=self.part, case=case, outcome=outcome, **{**took, **state, **fields})
        print(f"{case}: {outcome} {fields.get('reason', '')}", flush=True)


def one_line(error: BaseException) -> str:
    """An exception as a line of a table."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _device_answers() -> bool:
    torch = sys.modules.get("torch")
    if torch is None:
        return True
    try:
        torch.cuda.synchronize()
    except Exception:
        return False
    return True


def default_work(digest: str) -> Path:
    """Where parts leave what they need from each other: one folder for each state of the sources."""
    return ROOT / "build" / "visit" / digest[:12]


def stamp(setting: Setting, digest: str) -> dict[str, Any]:
    """What every line carries: sources, machine and the versions that matter most."""
    machine = clocks.machine() if setting.on_gpu else {"gpu": None, "driver": None}
    return {"commit": os.environ.get(COMMIT), "digest": digest, **machine, "versions": versions()}


def versions() -> dict[str, str | None]:
    """Of PyTorch and Triton, without importing them."""
    found: dict[str, str | None] = {}
    for name in ("torch", "triton"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def main(run: Callable[[Visit], None]) -> None:
    """The program of a part."""
    name = Path(sys.argv[0]).stem
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", default=name, help="its name in the journal")
    parser.add_argument("--work", type=Path, help="folder of what parts leave for each other")
    parser.add_argument("--journal", type=Path, action="append", help="file of JSON lines; repeatable")
    parser.add_argument("--setting", choices=SETTINGS, default="gpu")
    parser.add_argument("--seconds", type=float, default=600.0, help="budget")
    args, rest = parser.parse_known_args()
    digest, setting = source_digest(), SETTINGS[args.setting]
    work = args.work or default_work(digest)
    work.mkdir(parents=True, exist_ok=True)
    if args.journal is None:
        os.environ.update(setting.environment)
        args.journal = [work / f"{args.part}-alone.jsonl"]
        print(f"lines go to {args.journal[0]}")
    # A second before the runner's own limit: what was found is reported by who knows it.
    end = time.monotonic() + args.seconds - 1.0
    journal = Journal(args.journal, stamp(setting, digest))
    run(Visit(args.part, work, setting, journal, end, tuple(rest)))
