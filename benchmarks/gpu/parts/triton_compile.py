"""Compiles the Triton kernels of all batch sizes in many processes, before anything waits for one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.gpu.networks import device_of, engine_path
from benchmarks.gpu.worker import Skip, Visit, main
from inception_fast.plan.engine_file import read_engine
from inception_fast.tuning.precompile import Target, precompile


def run(visit: Visit) -> None:
    setting = visit.setting
    for precision in setting.precisions:
        batches = setting.batches if precision == setting.precisions[0] else setting.checked_batches
        visit.case(precision, lambda p=precision, b=batches: compile_kernels(visit, p, b), 90)


def compile_kernels(visit: Visit, precision: str, batches: Sequence[int]) -> dict[str, Any]:
    """Leaves them in Triton's own cache."""
    if not visit.setting.on_gpu:
        raise Skip("there is no GPU to compile for")
    plan = read_engine(engine_path(visit.work, "triton", precision)).plan
    target = Target.of(device_of(visit.setting))
    return {"kernels": precompile(plan, precision, batches, target, processes=visit.setting.processes)}


if __name__ == "__main__":
    main(run)
