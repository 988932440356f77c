"""Split K: several programs share a tile, each sums a part of K, and the last to arrive adds the parts.

Each program stores its sums in a workspace and counts itself in. Whoever finds that all others were there before reads
all parts in the order of K and goes on to the end of the product; so the order of every addition, and with it every
bit, is the same in each run, whoever is last. The only atomic is the counter.

The last to arrive sets the counter back to zero, so that the next launch of the stream can have it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import triton.language as tl

from inception_fast.triton_kernels.numerics import device_function, loop_end
from inception_fast.tuning.problem import ConvConfig
from inception_fast.tuning.workspace import workspace_size

MOST_AT_ONCE = 4
"""Parts that are read before the first is added, so that their latencies overlap, where registers allow."""


@device_function
def is_last(
    sums,
    partials,
    counters,
    tile,
    before,
    splits,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    WIDTHS: tl.constexpr,
    PARTS: tl.constexpr,
):
    """Stores a program's part of a tile; whether all others of the tile have stored theirs.

    Args:
        sums: as :func:`inception_fast.triton_kernels.conv.product` returns them.
        partials: ``[programs, BLOCK_M x BLOCK_N]``; a tile's parts are ``tiles`` programs apart.
        tile: the program of the tile's first part.
        before: programs between that and this one.
        splits: parts of the tile.
    """
    place = partials + (tile + before).to(tl.int64) * (BLOCK_M * BLOCK_N)
    for p in tl.static_range(PARTS):
        tl.store(place + part_offsets(BLOCK_M, WIDTHS[p]), sums[p], cache_modifier=".cg")
        place += BLOCK_M * WIDTHS[p]
    # All threads have stored when one of them counts; its release and acquire hold for all.
    tl.debug_barrier()
    arrived = tl.atomic_add(counters + tile, 1, sem="acq_rel", scope="gpu")
    last = arrived == splits - 1
    tl.store(counters + tile, 0, mask=last)
    return last


@device_function
def sum_of_parts(
    partials,
    tile,
    tiles,
    splits,
    first,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    WIDTH: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    """The columns from ``first`` of a tile, ``[BLOCK_M, WIDTH]``: its parts added in the order of K."""
    stride = tiles.to(tl.int64) * (BLOCK_M * BLOCK_N)
    place = partials + tile.to(tl.int64) * (BLOCK_M * BLOCK_N) + BLOCK_M * first + part_offsets(BLOCK_M, WIDTH)
    total = tl.load(place, cache_modifier=".cg")
    for s in range(1, loop_end(splits), AT_ONCE):
        for i in tl.static_range(AT_ONCE):
            total += tl.load(place + (s + i) * stride, mask=s + i < splits, other=0.0, cache_modifier=".cg")
    return total


@device_function
def part_offsets(BLOCK_M: tl.constexpr, WIDTH: tl.constexpr):
    """Where the values of a part of a tile are."""
    return tl.arange(0, BLOCK_M)[:, None] * WIDTH + tl.arange(0, WIDTH)[None, :]


@dataclass(frozen=True)
class Workspace:
    """What the programs of split launches leave for each other; for one launch after the other on one stream.

    Attributes:
        partials: float32.
        counters: int32, zero before and after each launch.
    """

    partials: torch.Tensor
    counters: torch.Tensor

    @staticmethod
    def of(sizes: Iterable[tuple[int, int]], device: torch.device) -> Workspace:
        """For launches of which :func:`inception_fast.tuning.workspace.workspace_size` says ``sizes``."""
        values, programs = (max(numbers, default=0) for numbers in zip(*[(0, 0), *sizes], strict=True))
        return Workspace(torch.empty(values, device=device), torch.zeros(programs, dtype=torch.int32, device=device))


def split_arguments(
    config: ConvConfig, depth: int, programs: int, workspace: Workspace | None, unused: torch.Tensor
) -> dict[str, object]:
    """What a kernel must know of the split of its longest sum, ``depth``, by name."""
    if config.splits == 1:
        return {"partials": unused, "counters": unused, "segment": 0, "SPLIT": False, "AT_ONCE": 1}
    values, counters = workspace_size(programs, config)
    assert workspace is not None and workspace.partials.numel() >= values and workspace.counters.numel() >= counters
    # A thread has 255 registers, and its part of the tile is one of those that it holds.
    held = config.m * max(config.widths) // (32 * config.warps)
    return {
        "partials": workspace.partials,
        "counters": workspace.counters,
        "segment": config.segment(depth),
        "SPLIT": True,
        "AT_ONCE": max(1, min(MOST_AT_ONCE, 128 // held)),
    }
