"""Hardware counters of single launches, by Nsight Compute.

They are a heavy one of the stage driver at the first two batch sizes, and the network driver's only one. Clocks are
left as they are.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu.networks import DRIVER, engine_path
from benchmarks.gpu.source_digest import ROOT
from benchmarks.gpu.tools import find_tool
from benchmarks.gpu.worker import Skip, Visit, main
from inception_fast.plan.cost import operations
from inception_fast.plan.engine_file import read_engine
from inception_fast.plan.plan import PairStep, Plan

BESIDES = 6
"""Stages of the stem, whose tiles are none of the others'."""
KERNELS = {"stage": "(stage|throughput)_kernel", "network": "network_kernel"}
"""Of each launch of a driver, by a part of their names."""
FORWARD = "benchmarks.gpu.forward"


def run(visit: Visit) -> None:
    batches = visit.setting.batches
    launches = (("stage", batches[0]), ("stage", batches[1]), ("network", batches[0]))
    for driver, batch in launches if visit.setting.on_gpu else launches[:1]:
        visit.case(f"{driver}-batch{batch}", lambda d=driver, b=batch: profile(visit, d, b), 40)
    # The reports say it all; their text is for those who have no ncu, and comes last.
    for report in sorted(visit.artifacts.glob("ncu-*.ncu-rep")):
        visit.case(f"counters-{report.stem}", lambda r=report: {"counters": counters(r)}, 20)


def profile(visit: Visit, driver: str, batch: int) -> dict[str, Any]:
    """Without the profiler only the pass that it would look at is run, so that a dry run sees that it can be."""
    engine = engine_path(visit.work, "cuda", visit.setting.precisions[0])
    skipped = heavy_launch(read_engine(engine).plan) if driver == "stage" else 0
    command = [sys.executable, "-m", FORWARD, str(engine), "--device", visit.setting.device, "--batch", str(batch)]
    tool = find_tool("ncu") if visit.setting.on_gpu else None
    report = visit.artifacts / f"ncu-{driver}-batch{batch}"
    options = ["--set", "full", "--clock-control", "none", "--force-overwrite"]
    options += ["--kernel-name", f"regex:{KERNELS[driver]}", "--launch-skip", str(skipped), "--launch-count", "1"]
    prefix = [tool, *options, "--export", str(report)] if tool else []
    result = subprocess.run(["env", f"{DRIVER}={driver}", *prefix, *command], cwd=ROOT, capture_output=True, text=True)
    print(result.stdout, result.stderr, sep="\n")
    if result.returncode:
        lines = (result.stdout + result.stderr).strip().splitlines()
        return {"wrong": f"exit status {result.returncode}: {lines[-1] if lines else ''}"}
    if tool is None:
        raise Skip("ncu is not found" if visit.setting.on_gpu else "ncu needs a GPU")
    return {"launch": skipped}


def heavy_launch(plan: Plan) -> int:
    """The stage driver's launch behind the stem with the most arithmetic; of a stage with pairs the first of two."""
    first, launches = 0, []
    for stage in plan.stages:
        steps = [plan.steps[i] for i in stage]
        launches.append((first, sum(operations(plan, step) for step in steps)))
        first += 2 if any(isinstance(step, PairStep) for step in steps) else 1
    behind = launches[min(BESIDES, len(launches) - 1) :]
    best, _ = max(behind, key=lambda launch: launch[1])
    return best


def counters(report: Path) -> dict[str, str]:
    """Every counter of a report of one launch, by name, with its unit."""
    tool = find_tool("ncu")
    if tool is None:
        raise Skip("ncu is not found")
    text = subprocess.run(
        [tool, "--import", str(report), "--page", "raw", "--csv"], capture_output=True, text=True, check=True
    ).stdout
    return parse_counters(text)


def parse_counters(text: str) -> dict[str, str]:
    """The raw page: names, units, then a line a launch."""
    rows = [row for row in csv.reader(text.splitlines()) if len(row) > 2]
    if len(rows) < 3:
        return {}
    names, units, values = rows[:3]
    return {name: f"{value} {unit}".strip() for name, unit, value in zip(names, units, values, strict=False)}


if __name__ == "__main__":
    main(run)
