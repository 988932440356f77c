"""Two recorded passes of the driver whose blocks wait for each other, on two streams at the same time.

Neither can go on unless all of its blocks are resident. Should that hang the device, nothing else comes behind it.
"""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.gpu.networks import Truth, device_of, fast_model
from benchmarks.gpu.parts.correctness import digest
from benchmarks.gpu.worker import Skip, Visit, main
from inception_fast.errors import BackendUnavailableError

PASSES = 20
"""On each of the streams."""


def run(visit: Visit) -> None:
    visit.case("network", lambda: two_streams(visit), 20)


def two_streams(visit: Visit) -> dict[str, Any]:
    """The bits of every pass, beside those of a pass alone."""
    if not visit.setting.on_gpu:
        raise Skip("streams are a GPU's")
    try:
        fast = fast_model(visit.work, visit.setting, "network", visit.setting.precisions[0])
    except BackendUnavailableError as error:
        raise Skip(str(error)) from error
    truth = Truth.load(visit.work)
    dtype = getattr(torch, fast.plan.io_dtype)
    inputs = [t.to(device_of(visit.setting), dtype) for t in (truth.images[:1], truth.images[1:2])]
    expected = [digest(fast.run_flat(x)) for x in inputs]
    streams = [torch.cuda.Stream() for _ in inputs]
    torch.cuda.synchronize()
    results: list[list[list[torch.Tensor]]] = [[], []]
    for _ in range(PASSES):
        for which, (stream, x) in enumerate(zip(streams, inputs, strict=True)):
            with torch.cuda.stream(stream):
                results[which].append(fast.run_flat(x))
    torch.cuda.synchronize()
    different = sum(digest(r) != e for rs, e in zip(results, expected, strict=True) for r in rs)
    return {"passes": 2 * PASSES, "wrong": f"{different} passes gave other bits" if different else ""}


if __name__ == "__main__":
    main(run)
