"""Compiles the Triton kernels of all batch sizes in many processes, before anything waits for one of them."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.networks import engine_path
from benchmarks.gpu.worker import Skip, Visit, main


def run(visit: Visit) -> None:
    for precision in visit.setting.precisions:
        visit.case(precision, lambda p=precision: compile_kernels(visit, p), 90)


def compile_kernels(visit: Visit, precision: str) -> dict[str, Any]:
    """Leaves them in Triton's own cache."""
    try:
        from inception_fast.tuning.compile_ahead import compile_ahead
    except ImportError as error:
        raise Skip(f"the triton backend compiles nothing ahead: {error}") from error
    path = engine_path(visit.work, "triton", precision)
    return {"kernels": compile_ahead(path, visit.setting.batches, processes=visit.setting.processes)}


if __name__ == "__main__":
    main(run)
