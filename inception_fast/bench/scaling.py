"""How a whole network's time falls with the number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch

from inception_fast.backends import Backend
from inception_fast.bench.statistics import Summary, paired_ratio
from inception_fast.bench.timing import Timer, interleave
from inception_fast.plan.cost import operations
from inception_fast.plan.plan import Plan


@dataclass(frozen=True)
class Scale:
    """One number of threads.

    Attributes:
        seconds: of a forward pass.
        speedup: one thread's time over this, round by round; with perfect scaling ``threads``.
        operations: floating-point operations of the batch.
    """

    threads: int
    seconds: Summary
    speedup: Summary
    operations: int


def thread_counts(most: int) -> list[int]:
    """1, 2, 4, ... and ``most``."""
    return sorted({most, *(1 << i for i in range(most.bit_length()) if 1 << i <= most)})


def scaling(
    plan: Plan,
    constants: Mapping[str, torch.Tensor],
    backend: Backend,
    *,
    batch: int,
    precision: str,
    rounds: int,
    timer: Timer | None = None,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> list[Scale]:
    """Times forward passes on the CPU with 1, 2, 4, ... threads up to PyTorch's number, in turns.

    PyTorch's number of threads is afterwards what it was.
    """
    most, device = torch.get_num_threads(), torch.device("cpu")
    image = plan.buffers[plan.input]
    x = torch.rand(batch, image.channels, image.height, image.width).to(getattr(torch, plan.input_dtype))
    work = batch * sum(operations(plan, step) for step in plan.steps)

    def ready(threads: int) -> Callable[[], object]:
        torch.set_num_threads(threads)
        executor = backend.compile(plan, constants, device=device, precision=precision)

        def run() -> object:
            torch.set_num_threads(threads)
            return executor.run(x)

        return run

    counts = thread_counts(most)
    try:
        runs = {str(threads): ready(threads) for threads in counts}
        samples = interleave(runs, rounds=rounds, timer=timer, track=track)
    finally:
        torch.set_num_threads(most)
    return [
        Scale(threads, Summary.of(samples[str(threads)]), paired_ratio(samples["1"], samples[str(threads)]), work)
        for threads in counts
    ]
