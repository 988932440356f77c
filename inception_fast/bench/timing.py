"""The one place where time is taken, for ``bench``, ``kernels``, ``profile`` and the demo.

Contestants take turns: every round runs each of them once, in an order that changes from round to round, so that
drifting clocks and busy neighbours hit all of them alike. A turn begins with one call that is not timed, so that nobody
pays for the cold caches and the still spinning threads that the one before left behind; where a call is too short for
that, with a pause.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from math import ceil
from typing import Protocol

import torch

from inception_fast.backends.cuda_graph import record

Run = Callable[[], object]

WARM_UP = 3
"""Untimed calls of each contestant before the first round."""
FEWEST_ROUNDS = 5
"""A budget of seconds never cuts the rounds below this."""


class Replay:
    """What a function did once on the current device, as a CUDA graph: a call enqueues it and returns the same results,
    in the graph's own memory.
    """

    def __init__(self, run: Run) -> None:
        # Kept for its weights and input: the graph has their addresses, and no hold on them.
        self._run = run
        self._graph, self._results = record(run)

    def __call__(self) -> object:
        self._graph.replay()
        return self._results


def captured(run: Run, device: torch.device | None = None) -> Run:
    """``run`` recorded into a CUDA graph, for its time on the device without the host's; itself on a CPU.

    Args:
        device: that it runs on; by default a GPU where PyTorch has one.

    Raises:
        RuntimeError: it does what cannot be recorded.
    """
    on_gpu = torch.cuda.is_available() if device is None else device.type == "cuda"
    return Replay(run) if on_gpu else run


class Timer(Protocol):
    """Takes the time of some calls on one kind of device."""

    def __call__(self, run: Run, calls: int) -> float:
        """Seconds per call of ``calls`` calls in a row, from an idle device to the last result."""


class HostTimer:
    """Wall-clock time, for work that is done when the call returns."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock

    def __call__(self, run: Run, calls: int) -> float:
        begin = self._clock()
        for _ in range(calls):
            run()
        return (self._clock() - begin) / calls


class CudaTimer:
    """Time between two events on the current stream: the GPU's own clock, launches included."""

    def __call__(self, run: Run, calls: int) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        for _ in range(calls):
            run()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1e-3 / calls


def timer_for(device: torch.device) -> Timer:
    """How to take time on a device."""
    return CudaTimer() if device.type == "cuda" else HostTimer()


def turn_order(count: int, round_index: int) -> list[int]:
    """Who runs when in a round: everyone gets every place, and every neighbour."""
    shift = round_index // 2 % max(count, 1)
    order = [(i + shift) % count for i in range(count)]
    return order if round_index % 2 == 0 else order[::-1]


def interleave(
    runs: Mapping[str, Run],
    *,
    rounds: int,
    seconds: float | None = None,
    timer: Timer | None = None,
    shortest_sample: float = 0.0,
    pause: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], object] = time.sleep,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> dict[str, list[float]]:
    """Times contestants in turns.

    Args:
        runs: by name; one forward pass each.
        rounds: samples of each contestant.
        seconds: stop early after so long, but not before :data:`FEWEST_ROUNDS` rounds.
        timer: how to take the time; the host's clock by default.
        shortest_sample: seconds; a contestant that is faster is called several times a sample, so that the clock's
            resolution does not matter.
        pause: seconds of silence at the beginning of a turn, for the threads of the one before to stop spinning.
        clock: for the budget.
        sleep: for the pause.
        track: wraps the rounds, to draw a progress bar.

    Returns:
        Seconds per call by name, one sample a round; sample ``i`` of all contestants comes from one round.
    """
    timer = timer or HostTimer()
    begin = clock()
    names = list(runs)
    calls = {}
    for name, run in runs.items():
        sleep(pause)
        calls[name] = _calls_per_sample(run, timer, shortest_sample)
    samples: dict[str, list[float]] = {name: [] for name in names}
    for index in track(range(rounds)):
        for place in turn_order(len(names), index):
            name = names[place]
            sleep(pause)
            runs[name]()
            samples[name].append(timer(runs[name], calls[name]))
        if seconds is not None and index + 1 >= FEWEST_ROUNDS and clock() - begin > seconds:
            break
    return samples


def _calls_per_sample(run: Run, timer: Timer, shortest_sample: float) -> int:
    for _ in range(WARM_UP):
        run()
    once = timer(run, 1)
    return max(1, ceil(shortest_sample / once)) if once > 0 else 1
