"""What the blocks of one forward pass on the CUDA kernels did and when, as :meth:`CudaExecutor.trace` finds it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from inception_fast.backends.base import BlockTrace, StepTime

RECORD_WORDS = 7
"""64-bit words of a ``TileRecord``, see ``csrc/cuda/launch/tile_record.h``: five times, then four 32-bit numbers."""


def new_records(count: int, device: torch.device) -> torch.Tensor:
    """Memory for ``count`` records: ``[count, RECORD_WORDS]``, int64, zeros."""
    return torch.zeros(count, RECORD_WORDS, dtype=torch.int64, device=device)


def read_records(records: torch.Tensor, launches: Sequence[Sequence[str]]) -> list[BlockTrace]:
    """Records that a pass has filled, in the order of their launches and tiles.

    Args:
        records: as :func:`new_records` makes them; those on a GPU are waited for.
        launches: the names of each launch's steps.
    """
    records = records.cpu()
    times = records[:, :5]
    # What a step has no chunks for, it does not reach: it is ready all along, and in no loop.
    start, ready, first_chunk, loop_end, done = times.unbind(1)
    first_chunk = torch.where(first_chunk == 0, ready, first_chunk)
    loop_end = torch.where(loop_end == 0, done, loop_end)
    times = torch.stack([start, ready, first_chunk, loop_end, done], 1) - start.min()
    numbers = records[:, 5:].contiguous().view(torch.int32)[:, :3]
    names = [name for names in launches for name in names]
    launch_of = [i for i, names in enumerate(launches) for _ in names]
    return [
        BlockTrace(launch_of[step], names[step], tile, multiprocessor, *instants)
        for (step, tile, multiprocessor), instants in zip(numbers.tolist(), times.tolist(), strict=True)
    ]


def step_times(blocks: Iterable[BlockTrace], steps: Iterable[str]) -> list[StepTime]:
    """What each step took, from the first block that had what it reads to the last that was done.

    Steps side by side share multiprocessors, so that their times overlap and the sum is more than the pass takes. A
    pair that was taken apart gives two times under its name, with ``first`` and ``second`` in the place of an
    algorithm.

    Args:
        blocks: of one pass.
        steps: of the Plan.
    """
    known, spans = set(steps), dict[str, tuple[int, int]]()
    for block in blocks:
        begin, end = spans.get(block.step, (block.ready, block.done))
        spans[block.step] = (min(begin, block.ready), max(end, block.done))
    times = []
    for name, (begin, end) in spans.items():
        step, _, part = (name, "", "") if name in known else name.rpartition(".")
        times.append(StepTime(step, (end - begin) * 1e-9, part))
    return times
