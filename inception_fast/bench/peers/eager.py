"""PyTorch eager, in both memory formats; on a GPU under a CUDA graph, with cuDNN's own search for algorithms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from inception_fast.bench.peers.base import Contestant, Task, refuse_int8

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def prepare(task: Task) -> list[Contestant]:
    """One contestant a memory format: which of them is faster differs between machines and batch sizes."""
    refuse_int8(task)
    return [contestant(task, label) for label in FORMATS]


def contestant(task: Task, label: str) -> Contestant:
    """In one of :data:`FORMATS`."""
    module, x = task.module(FORMATS[label]), task.input(FORMATS[label])
    name = f"eager {label}"
    if task.device.type == "cuda":
        return Contestant(name, in_cuda_graph(lambda: module(x)), f"{label}, cudnn.benchmark, CUDA graph")
    return Contestant(name, lambda: module(x), label)


def in_cuda_graph(run: Callable[[], object]) -> Callable[[], object]:
    """``run`` recorded once; each call replays it, and the results are in the recording's own memory."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        # The search for algorithms must be over before the recording begins.
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = run()
    return _Recording(graph, run, outputs)


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    run: Callable[[], object]
    """Kept for its weights and input: the graph has their addresses, and no hold on them."""
    outputs: object

    def __call__(self) -> object:
        self.graph.replay()
        return self.outputs
