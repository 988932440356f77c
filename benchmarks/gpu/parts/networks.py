"""The truth in float64 on the CPU, and engine files: captured once, lowered for each backend and precision."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.gpu.networks import BACKENDS, Truth, engine_path, photographs, target_of
from benchmarks.gpu.worker import Visit, main
from inception_fast.backends import get_backend
from inception_fast.bench.accuracy import true_outputs
from inception_fast.bench.targets import load_images
from inception_fast.compilation import make_engine
from inception_fast.graph.capture import Captured, capture
from inception_fast.plan.engine_file import write_engine


def run(visit: Visit) -> None:
    setting = visit.setting
    target = target_of(setting)
    captured: list[Captured] = []

    def engine(backend: str, precision: str) -> dict[str, Any]:
        begun = time.perf_counter()
        if not captured:
            captured.append(capture(target.model, inputs[:1]))
        made = make_engine(captured[0], inputs[:1], precision, get_backend(backend).lowering)
        write_engine(engine_path(visit.work, backend, precision), made)
        return {"steps": len(made.plan.steps), "host_seconds": time.perf_counter() - begun}

    inputs = load_images(target.size, setting.distinct, random=not photographs())
    # In every record: it is what inputs are, and what the weights were calibrated on.
    kind = "photographs" if photographs() else "noise"
    for precision in setting.precisions:
        for backend in BACKENDS:
            visit.case(f"{backend}-{precision}", lambda b=backend, p=precision: engine(b, p), 90)

    def truth() -> dict[str, Any]:
        Truth(inputs, true_outputs(target.model, inputs)).save(visit.work)
        return {"images": kind, "size": target.size}

    visit.case("truth", truth, 90)


if __name__ == "__main__":
    main(run)
