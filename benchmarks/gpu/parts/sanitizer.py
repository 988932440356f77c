"""compute-sanitizer over small networks on every driver and Triton: the argument is ``memcheck`` or ``racecheck``.

Every tensor has an allocation of its own: a pool would hide what lies one past the end.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.gpu.source_digest import ROOT
from benchmarks.gpu.tools import find_tool
from benchmarks.gpu.worker import Skip, Visit, main

TESTS = "tests/backends/test_on_device.py::test_launch"
NETWORKS = ("factorized_pairs", "pools_in_concat")
MAKERS = (("cuda-stage", "cuda-pair", "cuda-network"), ("triton",))
"""Of tests that share a process."""
PRECISION = "fp16"
NO_POOL = "PYTORCH_NO_CUDA_MEMORY_CACHING"


def run(visit: Visit) -> None:
    (tool,) = visit.arguments
    # The sanitizer's own start takes longer than a test.
    for makers in MAKERS:
        visit.case("-".join(makers), lambda m=makers: check(visit, tool, m), 75)


def check(visit: Visit, tool: str, makers: Sequence[str]) -> dict[str, Any]:
    """Some tests under the sanitizer."""
    program = find_tool("compute-sanitizer")
    if program is None or not visit.setting.on_gpu:
        raise Skip("compute-sanitizer is not found" if visit.setting.on_gpu else "compute-sanitizer needs a GPU")
    tests = [f"{TESTS}[{network}-{maker}-{PRECISION}]" for maker in makers for network in NETWORKS]
    pytest = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *tests]
    command = [program, "--tool", tool, "--error-exitcode", "9", *pytest]
    result = subprocess.run(command, cwd=ROOT, env=os.environ | {NO_POOL: "1"}, capture_output=True, text=True)
    print(result.stdout, result.stderr, sep="\n", flush=True)
    found = [line.strip("= ") for line in result.stdout.splitlines() if "SUMMARY" in line]
    wrong = f"exit status {result.returncode}: {'; '.join(found)}" if result.returncode else ""
    return {"tests": tests, "summary": found, "wrong": wrong}


if __name__ == "__main__":
    main(run)
