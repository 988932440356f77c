"""A progress bar on stderr, for terminals only."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")
WIDTH = 30


def progress(items: Iterable[T], label: str = "", total: int | None = None) -> Iterator[T]:
    """Yields ``items`` and draws how many are done; silent where stderr is not a terminal.

    Args:
        items: what to go through.
        label: a word before the bar.
        total: number of items, for an iterable without a length.
    """
    if not sys.stderr.isatty():
        yield from items
        return
    if total is None and isinstance(items, Sized):
        total = len(items)
    done = 0
    try:
        _draw(label, done, total)
        for item in items:
            yield item
            done += 1
            _draw(label, done, total)
    finally:
        # Erase the line: what follows starts on a clean one, also after an exception.
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def _draw(label: str, done: int, total: int | None) -> None:
    if total:
        filled = WIDTH * min(done, total) // total
        text = f"[{'#' * filled}{'.' * (WIDTH - filled)}] {done}/{total}"
    else:
        text = str(done)
    sys.stderr.write(f"\r\x1b[K{label} {text}".rstrip())
    sys.stderr.flush()
