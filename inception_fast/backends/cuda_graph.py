"""CUDA graphs of any executor, one per batch size and stream: one launch replays a whole forward pass."""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from inception_fast.backends.base import BlockTrace, Executor, Out, StepTime, copied
from inception_fast.plan.plan import Plan

T = TypeVar("T")

MAX_GRAPHS = 16
"""Graphs kept per executor; each holds the memory of a forward pass."""


def with_index(device: torch.device) -> torch.device:
    """A CUDA device by its number: ``cuda`` alone would mean another one in a thread that made another one current."""
    return torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)


def record(run: Callable[[], T]) -> tuple[torch.cuda.CUDAGraph, T]:
    """What ``run`` does on the current device as a graph, and what it returned: tensors in the graph's own memory.

    A graph has the addresses of what ``run`` reads and no hold on it: the caller keeps that.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        # Libraries choose algorithms and allocate workspaces on first calls, which a recording must not contain.
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # Without a stream of its own it would be recorded on one that all devices share.
    with _alone(), torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
        result = run()
    return graph, result


@contextmanager
def _alone() -> Iterator[None]:
    """One recording at a time in the process, as beginning one waits for the whole device, which breaks another; and
    none in which the garbage collector frees memory of the device, which breaks it too.
    """
    with _recording:
        collects = gc.isenabled()
        gc.collect()
        gc.disable()
        try:
            yield
        finally:
            if collects:
                gc.enable()


_recording = threading.Lock()


@dataclass
class _Recording:
    graph: torch.cuda.CUDAGraph
    x: torch.Tensor
    outputs: list[torch.Tensor]
    lock: threading.Lock = field(default_factory=threading.Lock)


class CudaGraphs(Executor):
    """Records ``executor.run`` at each new batch size on each stream, then replays it.

    A recording has memory of its own: the input is copied into it and the outputs are copied out, to new tensors or
    the caller's, on the caller's stream. Streams do not share recordings, so callers on different streams run side by
    side; callers on one stream are in its order anyway. Who owns an input for good needs neither copy: see
    :meth:`inception_fast.FastModel.static`.
    """

    places_outputs = True

    def __init__(self, executor: Executor, plan: Plan, device: torch.device) -> None:
        self._executor, self._device = executor, with_index(device)
        self._buffers = [output.buffer for output in plan.outputs]
        self.driver = executor.driver
        self._recordings: OrderedDict[tuple[int, int], _Recording] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def packed(self) -> Mapping[Hashable, int]:
        return self._executor.packed

    def unrecorded(self, images: int) -> Executor:
        return self._executor

    def run(self, x: torch.Tensor, out: Out | None = None) -> list[torch.Tensor]:
        if torch.cuda.current_device() == self._device.index:
            return self._run(x, out or {})
        with torch.cuda.device(self._device):
            return self._run(x, out or {})

    def _run(self, x: torch.Tensor, out: Out) -> list[torch.Tensor]:
        if torch.cuda.is_current_stream_capturing():
            # Strides that no pass has had before may need another kernel, which cannot be loaded while recording.
            with torch.no_grad():
                return self._executor.run(_fixed(x), out)
        key = (x.shape[0], torch.cuda.current_stream().cuda_stream)
        with self._lock:
            recording = self._recordings.get(key)
            if recording is None:
                recording = self._recordings[key] = self._record(x)
                while len(self._recordings) > MAX_GRAPHS:
                    self._recordings.popitem(last=False)
            self._recordings.move_to_end(key)
        with recording.lock:
            recording.x.copy_(x)
            recording.graph.replay()
            return [
                copied(o, out[buffer]) if buffer in out else o.clone()
                for o, buffer in zip(recording.outputs, self._buffers, strict=True)
            ]

    def profile(self, x: torch.Tensor) -> list[StepTime]:
        """What the executor knows of its steps, for an image in the layout that recordings have."""
        return self._executor.profile(_fixed(x))

    def trace(self, x: torch.Tensor) -> list[BlockTrace]:
        """Of a pass in a graph of its own, in the layout that recordings have."""
        return self._executor.trace(_fixed(x))

    def _record(self, x: torch.Tensor) -> _Recording:
        with torch.no_grad():
            fixed = _fixed(x)
            graph, outputs = record(lambda: self._executor.run(fixed))
        return _Recording(graph, fixed, outputs)


def _fixed(x: torch.Tensor) -> torch.Tensor:
    """A copy in the one layout that the executor gets."""
    return torch.empty_like(x, memory_format=torch.channels_last).copy_(x)
