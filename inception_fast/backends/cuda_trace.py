"""What the blocks of one forward pass on the CUDA kernels did and when, as :meth:`CudaExecutor.trace` finds it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from inception_fast.backends.base import BlockTrace, StepTime

RECORD_WORDS = 7
"""64-bit words of a ``TileRecord``, see ``csrc/cuda/launch/tile_record.h``: five times, then four 32-bit numbers."""

COLUMNS = ("launch", "step", "tile", "multiprocessor", "start", "ready", "first_chunk", "loop_end", "done")
"""As the fields of :class:`~inception_fast.backends.base.BlockTrace`; steps by their number."""


def new_records(count: int, device: torch.device) -> torch.Tensor:
    """Memory for ``count`` records: ``[count, RECORD_WORDS]``, int64, zeros."""
    return torch.zeros(count, RECORD_WORDS, dtype=torch.int64, device=device)


def record_columns(records: torch.Tensor, launches: Sequence[Sequence[str]]) -> torch.Tensor:
    """Records that a pass has filled, in the order of their launches and tiles.

    Args:
        records: as :func:`new_records` makes them; those on a GPU are waited for.
        launches: the names of each launch's steps.

    Returns:
        ``[count, len(COLUMNS)]``, int64, on the CPU: each record's :data:`COLUMNS`.
    """
    records = records.cpu()
    # What a step has no chunks for, it does not reach: it is ready all along, and in no loop.
    start, ready, first_chunk, loop_end, done = records[:, :5].unbind(1)
    first_chunk = torch.where(first_chunk == 0, ready, first_chunk)
    loop_end = torch.where(loop_end == 0, done, loop_end)
    times = torch.stack([start, ready, first_chunk, loop_end, done], 1)
    if len(times):
        times -= start.min()
    numbers = records[:, 5:].contiguous().view(torch.int32)[:, :3].long()
    launch_of = torch.tensor([i for i, names in enumerate(launches) for _ in names], device="cpu")
    return torch.cat([launch_of[numbers[:, :1]], numbers, times], 1)


def read_records(records: torch.Tensor, launches: Sequence[Sequence[str]]) -> list[BlockTrace]:
    """As :func:`record_columns`, an object a record."""
    names = [name for names in launches for name in names]
    return [
        BlockTrace(launch, names[step], tile, multiprocessor, *instants)
        for launch, step, tile, multiprocessor, *instants in record_columns(records, launches).tolist()
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
