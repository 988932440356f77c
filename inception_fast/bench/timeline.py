"""What the blocks of a pass did, as a picture: a track for each block of a multiprocessor."""

from __future__ import annotations

from collections.abc import Sequence

from inception_fast.backends.base import BlockTrace

PARTS = (
    ("wait", "start", "ready"),
    ("first chunk", "ready", "first_chunk"),
    ("loop", "first_chunk", "loop_end"),
    ("store", "loop_end", "done"),
)
"""Of a block's time at a tile: what it is called, and from when to when."""


def block_timeline(blocks: Sequence[BlockTrace]) -> dict[str, object]:
    """In the Trace Event Format that chrome://tracing and Perfetto read, times in microseconds.

    A multiprocessor is a process there, and each block that it runs beside others a thread of that; a step's tile is an
    event of the step's name, with its parts below it. Parts of no length are left out.
    """
    events: list[dict[str, object]] = []
    free: dict[int, list[int]] = {}  # of each multiprocessor, until when its tracks are taken
    for block in sorted(blocks, key=lambda b: (b.start, b.done)):
        tracks = free.setdefault(block.multiprocessor, [])
        if not tracks:
            name = {"name": f"multiprocessor {block.multiprocessor}"}
            events.append({"name": "process_name", "ph": "M", "pid": block.multiprocessor, "args": name})
        track = next((i for i, until in enumerate(tracks) if until <= block.start), len(tracks))
        tracks[track:] = [block.done, *tracks[track + 1 :]]
        where = {"ph": "X", "pid": block.multiprocessor, "tid": track}
        details = {"tile": block.tile, "launch": block.launch}
        events.append({"name": block.step, **_span(block.start, block.done), **where, "args": details})
        for part, begin, end in PARTS:
            first, last = getattr(block, begin), getattr(block, end)
            if first < last:
                events.append({"name": part, **_span(first, last), **where})
    return {"traceEvents": events, "displayTimeUnit": "ns"}


def _span(begin: int, end: int) -> dict[str, float]:
    return {"ts": begin / 1e3, "dur": (end - begin) / 1e3}
