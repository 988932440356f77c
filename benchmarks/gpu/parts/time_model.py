"""Predicted against measured, stage by stage, with the constants that this visit measured."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

from benchmarks.gpu.parts.constants import FILE
from benchmarks.gpu.setting import DRIVERS
from benchmarks.gpu.source_digest import ROOT
from benchmarks.gpu.worker import Skip, Visit, main

MODULE = "benchmarks.time_model"


def run(visit: Visit) -> None:
    visit.case("predicted-and-measured", lambda: compare(visit), 60)


def compare(visit: Visit) -> dict[str, Any]:
    """What the model prints."""
    if importlib.util.find_spec(MODULE) is None:
        raise Skip(f"there is no {MODULE}")
    if not visit.setting.on_gpu:
        raise Skip("the emulator's times are no GPU's")
    constants = visit.artifacts / FILE
    words = ["--machine", str(constants)] if constants.exists() else []
    words += [word for batch in visit.setting.batches[:2] for word in ("--batch", str(batch))]
    words += [word for driver in DRIVERS for word in ("--driver", driver)]
    journal = str(visit.journal.files[0])
    command = [sys.executable, "-m", MODULE, visit.setting.model, *words, "--measured", journal]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(result.stdout, result.stderr, sep="\n")
    wrong = f"exit status {result.returncode}; see its log" if result.returncode else ""
    return {"report": result.stdout.splitlines(), "wrong": wrong}


if __name__ == "__main__":
    main(run)
