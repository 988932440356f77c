"""Which backend is faster at which batch size, by whole forward passes that were measured on a GPU.

``inception-fast tune --passes`` measures one network at a few batch sizes and keeps the times with the tuned
configurations. What is kept is a precision's, not a network's: the family's networks are alike in what decides it, how
much work a stage has for the GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import pairwise
from math import ceil, sqrt

import torch

from inception_fast.tuning.choice import known_tables, machine_of
from inception_fast.tuning.measure import Timer
from inception_fast.tuning.table import Machine, Passes

Winners = tuple[tuple[int, str], ...]
"""Backends, each with the batch size from which on it is the fastest; the first from 1 on."""


def known_passes(device: torch.device) -> tuple[Machine, Passes]:
    """A CUDA device, and the times that are known of it: shipped, and over them measured here."""
    machine = machine_of(device)
    found: dict[str, Mapping[int, Mapping[str, float]]] = {}
    for table in known_tables(machine):
        found |= table.passes
    return machine, found


def winners(times: Mapping[int, Mapping[str, float]], among: Iterable[str]) -> Winners:
    """The fastest of some backends by batch size.

    Between two sizes that were measured the change is half way, as a ratio.

    Args:
        times: seconds by batch size and backend; sizes at which not all were measured do not count.

    Returns:
        Nothing where no size counts.
    """
    names = list(among)
    measured = sorted(n for n, seconds in times.items() if all(name in seconds for name in names))
    best = {n: min(names, key=lambda name: times[n][name]) for n in measured}
    found = [(1, best[measured[0]])] if measured else []
    for smaller, larger in pairwise(measured):
        if best[smaller] != best[larger]:
            found.append((ceil(sqrt(smaller * larger)), best[larger]))
    return tuple(found)


def winner(of: Winners, images: int) -> str:
    """The backend for a batch size."""
    return next(name for first, name in reversed(of) if images >= first)


def measure_passes(passes: Mapping[tuple[str, int], Callable[[], object]], timer: Timer) -> dict[int, dict[str, float]]:
    """Seconds by batch size and backend of forward passes by backend and batch size."""
    found: dict[int, dict[str, float]] = {}
    for (name, images), work in passes.items():
        found.setdefault(images, {})[name] = timer(partial(_discard, work))
    return found


def _discard(work: Callable[[], object]) -> None:
    work()
