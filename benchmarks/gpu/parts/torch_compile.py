"""torch.compile's max-autotune under a CUDA graph beside ours, in turns; its convolutions are the vendor library's.

Its search among Triton kernels for convolutions takes many minutes and has not been seen to win.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch

from benchmarks.gpu.contestants import contest, ours
from benchmarks.gpu.networks import target_of
from benchmarks.gpu.worker import Visit, main
from inception_fast.bench.contest import Entrant
from inception_fast.bench.peers import Contestant, Task, torch_compile

BATCHES = 2
"""Those that say most."""


def run(visit: Visit) -> None:
    setting, target = visit.setting, target_of(visit.setting)
    precision = setting.precisions[0]
    entrants = [ours(visit.work, setting, name) for name in (("stage", "triton") if setting.on_gpu else ("stage",))]
    entrants.append(Entrant("torch.compile", inductor if setting.on_gpu else traced))
    for batch in setting.batches[: BATCHES if setting.on_gpu else 1]:
        visit.case(
            f"{precision}-batch{batch}",
            lambda b=batch: contest(visit, target, entrants, b, precision, setting.seconds),
            100,
        )


def inductor(task: Task) -> list[Contestant]:
    """As the bench has it."""
    from torch._inductor import config

    known = hasattr(config, "max_autotune_conv_backends")
    with config.patch(max_autotune_conv_backends="ATEN") if known else nullcontext():
        return torch_compile.prepare(task)


def traced(task: Task) -> list[Contestant]:
    """The dry run's: traced, and not compiled."""
    module, x = task.module(), task.input()
    compiled: Callable[[torch.Tensor], object] = torch.compile(module, backend="eager", dynamic=False)
    return [Contestant("torch.compile", lambda: compiled(x), "backend eager")]


if __name__ == "__main__":
    main(run)
