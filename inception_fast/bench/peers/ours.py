"""This package, one contestant a backend."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch

from inception_fast.backends import select_backend
from inception_fast.bench.peers.base import Contestant, PeerUnavailableError, Task
from inception_fast.errors import BackendUnavailableError


def prepare(task: Task, backend: str) -> list[Contestant]:
    from inception_fast.fast_model import FastModel
    from inception_fast.optimization import optimize

    try:
        select_backend(backend, task.device, task.precision)
    except BackendUnavailableError as error:
        raise PeerUnavailableError(str(error)) from error
    model, example = copy.deepcopy(task.model).to(task.device), task.examples().to(task.device)
    fast = optimize(model, example, precision=task.precision, backend=backend)
    x = task.input(torch.channels_last)
    note = f"backend {fast.backend}, channels_last"
    if not isinstance(fast, FastModel):
        parts = f"{note}, {len(fast.engines)} islands"
        return [Contestant(label(backend), lambda: fast(x), parts, unrecorded="operators of PyTorch's are between")]
    return [Contestant(label(backend), lambda: fast(x), note, lambda: fast.static(x))]


def label(backend: str) -> str:
    """A backend's name in the table."""
    return f"inception_fast {backend}"


def preparer(backend: str) -> Callable[[Task], list[Contestant]]:
    """:func:`prepare` for one backend."""
    return partial(prepare, backend=backend)
