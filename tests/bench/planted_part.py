"""A part of a visit that does as its arguments say, a case each: ``hold``, ``fail=WHY``, ``die``, ``hang`` and more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from benchmarks.gpu.worker import Skip, Visit, main

LONG = 600.0


def run(visit: Visit) -> None:
    for index, word in enumerate(visit.arguments):
        deed, _, detail = word.partition("=")
        limit = 1.0 if deed == "freeze" else LONG
        visit.case(f"{index}-{deed}", lambda d=deed, w=detail: _do(visit, d, w), limit)


def _do(visit: Visit, deed: str, detail: str) -> dict[str, object]:
    if deed == "skip":
        raise Skip(detail)
    if deed == "fail":
        raise ValueError(detail)
    if deed == "die":
        os._exit(3)
    if deed in ("read", "write"):
        with open(detail, deed[0]) as pipe:
            pipe.read() if deed == "read" else pipe.write("x")
    if deed == "wait":
        # A child of its own, which holds the pipe open, as a compiler's would.
        child = f"exec 3>{detail}; echo begun >&3; exec tail -f /dev/null"
        subprocess.Popen(["sh", "-c", child], stdin=subprocess.DEVNULL)
    if deed in ("hang", "freeze", "wait"):
        signal.pause()
    wrong = detail if deed == "lose" else ""
    return {"process": os.getpid(), "arguments": sys.argv, "wrong": wrong}


if __name__ == "__main__":
    main(run)
