"""The microbenchmarks of ``benchmarks.gpu.microbenchmarks``; with ``--compile-only`` they are not run."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu.source_digest import ROOT
from benchmarks.gpu.worker import Skip, Visit, main

MODULE = "benchmarks.gpu.microbenchmarks"
FILE = "microbenchmarks.json"


def run(visit: Visit) -> None:
    compile_only = "--compile-only" in visit.arguments
    visit.case("compile" if compile_only else "run", lambda: measure(visit.artifacts / FILE, compile_only), 120)


def measure(file: Path, compile_only: bool) -> dict[str, Any]:
    """Starts the program; what it measured is in the file too."""
    if importlib.util.find_spec(MODULE) is None:
        raise Skip(f"there is no {MODULE}")
    words = ["--compile-only"] if compile_only else []
    command = [sys.executable, "-m", MODULE, "--output", str(file), *words]
    status = subprocess.run(command, cwd=ROOT).returncode
    if status:
        return {"wrong": f"{MODULE} ended with exit status {status}; see its log"}
    return {} if compile_only or not file.exists() else {"constants": json.loads(file.read_text())}


if __name__ == "__main__":
    main(run)
