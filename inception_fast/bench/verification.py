"""Each backend's error against float64 on the CPU, beside PyTorch eager's own in the same precision."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from inception_fast.backends import get_backend, select_backend
from inception_fast.bench.accuracy import Error, agrees, allowed, compare, flatten, within
from inception_fast.bench.contest import eager_error
from inception_fast.bench.observe import Divergence, first_divergence
from inception_fast.bench.peers import Task
from inception_fast.errors import BackendUnavailableError
from inception_fast.fast_model import FastModel
from inception_fast.graph.capture import capture
from inception_fast.graph.passes import optimize_graph
from inception_fast.optimization import optimize


@dataclass(frozen=True)
class Verdict:
    """One backend in one precision.

    Attributes:
        eager: error of PyTorch eager in that precision on that device.
        bound: relative L2 that the backend may have.
        divergence: the first step that is wrong, where the result is and that was asked for.
    """

    backend: str
    precision: str
    error: Error
    eager: Error
    bound: float
    ok: bool
    divergence: Divergence | None = None


def refusal(backend: str, device: torch.device, precision: str) -> str:
    """Why a backend does not run in a precision on a device; empty where it does."""
    try:
        select_backend(backend, device, precision)
    except BackendUnavailableError as error:
        return str(error)
    return ""


def verify(task: Task, truth: Sequence[torch.Tensor], backends: Sequence[str], *, bisect: bool) -> list[Verdict]:
    """The verdicts on some backends that run here.

    Args:
        truth: the outputs for the task's images in float64.
        bisect: look for the first wrong step of a backend whose result is wrong.
    """
    eager = eager_error(task, truth)
    bound = allowed(task.precision, eager.relative_l2)
    model, x = copy.deepcopy(task.model).to(task.device), task.images.to(task.device)
    verdicts = []
    for name in backends:
        fast = optimize(model, task.examples().to(task.device), precision=task.precision, backend=name)
        error = compare(flatten(fast(x)), truth)
        ok = within(error, bound) and agrees(task.precision, error)
        divergence = None
        # A quantised network has no step that could be told right from wrong by its distance from the truth.
        if bisect and not ok and task.precision != "int8" and isinstance(fast, FastModel):
            graph, _ = optimize_graph(capture(model, x[:1]).graph, get_backend(name).lowering)
            divergence = first_divergence(graph, fast, x[:1])
        verdicts.append(Verdict(name, task.precision, error, eager, bound, ok, divergence))
    return verdicts
