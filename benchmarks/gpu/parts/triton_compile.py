"""Compiles the Triton kernels of all batch sizes in many processes, before anything waits for one of them."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.gpu.networks import engine_path
from benchmarks.gpu.worker import Skip, Visit, main
from inception_fast.plan.engine_file import read_engine
from inception_fast.tuning.precompile import Target, precompile


def run(visit: Visit) -> None:
    for precision in visit.setting.precisions:
        visit.case(precision, lambda p=precision: compile_kernels(visit, p), 90)


def compile_kernels(visit: Visit, precision: str) -> dict[str, Any]:
    """Leaves them in Triton's own cache."""
    if not visit.setting.on_gpu:
        raise Skip("there is no GPU to compile for")
    plan = read_engine(engine_path(visit.work, "triton", precision)).plan
    target, setting = Target.of(torch.device("cuda", 0)), visit.setting
    return {"kernels": precompile(plan, precision, setting.batches, target, processes=setting.processes)}


if __name__ == "__main__":
    main(run)
