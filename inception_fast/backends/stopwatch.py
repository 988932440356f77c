"""Times of steps, for executors that run them one by one from Python."""

from __future__ import annotations

import time

import torch

from inception_fast.backends.base import StepTime


class Stopwatch:
    """Started on construction; :meth:`lap` after each step.

    On a GPU it puts events on the current stream, so that nobody has to wait; what a step takes then includes the time
    that the GPU waits for its launch.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._steps = device, [""]
        self._marks = [self._now()]

    def lap(self, step: str) -> None:
        """Notes the end of a step and the beginning of the next."""
        self._steps.append(step)
        self._marks.append(self._now())

    def times(self) -> list[StepTime]:
        """Every lap, in order."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        pairs = zip(self._steps[1:], self._marks[:-1], self._marks[1:], strict=True)
        return [StepTime(step, self._between(begin, end)) for step, begin, end in pairs]

    def _now(self) -> float | torch.cuda.Event:
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    @staticmethod
    def _between(begin: float | torch.cuda.Event, end: float | torch.cuda.Event) -> float:
        if isinstance(begin, torch.cuda.Event) and isinstance(end, torch.cuda.Event):
            return begin.elapsed_time(end) * 1e-3
        assert isinstance(begin, float) and isinstance(end, float)
        return end - begin
