"""CUDA graphs of any executor, one per batch size and stream: one launch replays a whole forward pass."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import torch

from inception_fast.backends.base import Executor, StepTime

MAX_GRAPHS = 16
"""Graphs kept per executor; each holds the memory of a forward pass."""


def with_index(device: torch.device) -> torch.device:
    """A CUDA device by its number: ``cuda`` alone would mean another one in a thread that made another one current."""
    return torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)


@dataclass
class _Recording:
    graph: torch.cuda.CUDAGraph
    x: torch.Tensor
    outputs: list[torch.Tensor]
    lock: threading.Lock = field(default_factory=threading.Lock)


class CudaGraphs(Executor):
    """Records ``executor.run`` at each new batch size on each stream, then replays it.

    A recording has memory of its own: the input is copied into it and the outputs are copied out, on the caller's
    stream. Streams do not share recordings, so callers on different streams run side by side; callers on one stream
    are in its order anyway.
    """

    def __init__(self, executor: Executor, device: torch.device) -> None:
        self._executor, self._device = executor, device
        self.driver = executor.driver
        self._recordings: OrderedDict[tuple[int, int], _Recording] = OrderedDict()
        self._lock = threading.Lock()

    def run(self, x: torch.Tensor) -> list[torch.Tensor]:
        with torch.cuda.device(self._device), torch.no_grad():
            if torch.cuda.is_current_stream_capturing():
                # Strides that no pass has had before may need another kernel, which cannot be loaded while recording.
                return self._executor.run(_fixed(x))
            key = (len(x), torch.cuda.current_stream().cuda_stream)
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
                return [o.clone(memory_format=torch.preserve_format) for o in recording.outputs]

    def profile(self, x: torch.Tensor) -> list[StepTime]:
        """The steps run one by one, without a graph: a replay cannot be looked into."""
        return self._executor.profile(x)

    def _record(self, x: torch.Tensor) -> _Recording:
        fixed = _fixed(x)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            # Libraries choose algorithms and allocate workspaces on first calls, which a recording must not contain.
            for _ in range(3):
                self._executor.run(fixed)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            outputs = self._executor.run(fixed)
        return _Recording(graph, fixed, outputs)


def _fixed(x: torch.Tensor) -> torch.Tensor:
    """A copy in the one layout that the executor gets."""
    return torch.empty_like(x, memory_format=torch.channels_last).copy_(x)
