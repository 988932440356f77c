"""The microbenchmarks of ``benchmarks.gpu.microbenchmarks``; with ``--compile-only`` they are not run."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from typing import Any

from benchmarks.gpu.source_digest import ROOT
from benchmarks.gpu.worker import Skip, Visit, main

MODULE = "benchmarks.gpu.microbenchmarks"
FILE = "microbenchmarks.json"
UNAVAILABLE = 77
"""Its exit status where nothing can run; the reason is its last line."""


def run(visit: Visit) -> None:
    compile_only = "--compile-only" in visit.arguments
    visit.case("compile" if compile_only else "run", lambda: measure(visit, compile_only), 120)


def measure(visit: Visit, compile_only: bool) -> dict[str, Any]:
    """Starts the program; what it measured is in its file too."""
    if not visit.setting.on_gpu:
        raise Skip("they are a GPU's; their own test compiles them")
    file = visit.artifacts / FILE
    if importlib.util.find_spec(MODULE) is None:
        raise Skip(f"there is no {MODULE}")
    words = ["--compile-only"] if compile_only else []
    command = [sys.executable, "-m", MODULE, "--output", str(file), *words]
    result = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    print(result.stderr, file=sys.stderr, flush=True)
    status = result.returncode
    if status == UNAVAILABLE:
        raise Skip((result.stderr.strip().splitlines() or ["it cannot run here"])[-1])
    if status:
        return {"wrong": f"{MODULE} ended with exit status {status}; see its log"}
    return {} if compile_only or not file.exists() else {"constants": json.loads(file.read_text())}


if __name__ == "__main__":
    main(run)
