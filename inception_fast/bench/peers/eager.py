"""PyTorch eager, in both memory formats; on a GPU with cuDNN's own search for algorithms, replayed as a CUDA graph."""

from __future__ import annotations

from functools import partial

import torch

from inception_fast.bench.peers.base import Contestant, Task, refuse_int8
from inception_fast.bench.timing import captured

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def prepare(task: Task) -> list[Contestant]:
    """One contestant a memory format: which of them is faster differs between machines and batch sizes."""
    refuse_int8(task)
    return [contestant(task, label) for label in FORMATS]


def contestant(task: Task, label: str) -> Contestant:
    """In one of :data:`FORMATS`."""
    module, x = task.module(FORMATS[label]), task.input(FORMATS[label])
    note = f"{label}, cudnn.benchmark" if task.device.type == "cuda" else label

    def run() -> object:
        return module(x)

    return Contestant(f"eager {label}", run, note, partial(captured, run, task.device))
