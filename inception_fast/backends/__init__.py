"""The backends by name, and which of them can run here."""

from __future__ import annotations

import importlib
import warnings
from functools import cache

import torch

from inception_fast.backends.auto import CONTENDERS, Selection, contest
from inception_fast.backends.base import Availability, Backend, Executor, Lowering
from inception_fast.errors import BackendUnavailableError, InputError

__all__ = [
    "Availability",
    "Backend",
    "Executor",
    "Lowering",
    "Selection",
    "backends",
    "get_backend",
    "names",
    "select_backend",
    "selection",
]

_CLASSES = {
    "reference": "reference.ReferenceBackend",
    "torch": "torch.TorchBackend",
    "cpu": "cpu.CpuBackend",
    "triton": "triton.TritonBackend",
    "cuda": "cuda.CudaBackend",
}
_PREFERENCE = {"cpu": ("cpu", "torch", "reference"), "cuda": ("triton", "torch", "reference")}
"""Best first, for ``auto``, by device type, where no times say otherwise."""
SLOWEST = "reference"
"""Readable, and right; no faster than PyTorch."""


def names() -> tuple[str, ...]:
    """Every backend's name."""
    return tuple(_CLASSES)


@cache
def get_backend(name: str) -> Backend:
    """The backend of that name, available or not.

    Raises:
        InputError: there is none.
    """
    if name not in _CLASSES:
        raise InputError("backend", repr(name), f"'auto' or one of {', '.join(map(repr, _CLASSES))}")
    module, cls = _CLASSES[name].split(".")
    return getattr(importlib.import_module(f"{__name__}.{module}"), cls)()


def backends() -> dict[str, Availability]:
    """Which backends can run on this machine, and why the others cannot."""
    return {name: get_backend(name).availability() for name in _CLASSES}


def select_backend(name: str, device: torch.device, precision: str) -> Backend:
    """The one backend that a name means for tensors on ``device``; ``auto`` is the best that can serve them.

    Raises:
        InputError: unknown name.
        BackendUnavailableError: it cannot run here, or not on this device or in this precision.
    """
    return selection(name, device, precision, by_batch=False).backend


def selection(
    name: str, device: torch.device, precision: str, *, by_batch: bool = True, batch_invariant: bool = False
) -> Selection:
    """:func:`select_backend` with the reason; ``auto`` may be one for some batch sizes and another for others.

    Warns where ``auto`` finds nothing but SLOWEST.

    Args:
        by_batch: whether it may.
        batch_invariant: bits may not depend on the batch size, so one is for all.
    """
    if name != "auto":
        backend = get_backend(name)
        reason = _refusal(backend, device, precision)
        if reason:
            raise BackendUnavailableError(f"backend '{name}': {reason}")
        return Selection(backend, "asked for")
    preferred = _PREFERENCE.get(device.type, ())
    found = next((n for n in preferred if not _refusal(get_backend(n), device, precision)), None)
    if found is None:
        raise BackendUnavailableError(f"backend 'auto': none runs {precision} on device type '{device.type}'")
    why = f"the first of {', '.join(preferred)} that runs {precision} here"
    if found == SLOWEST:
        refused = "; ".join(f"'{n}': {_refusal(get_backend(n), device, precision)}" for n in preferred if n != found)
        why = f"{why}, slower than PyTorch itself ({refused})"
        if by_batch:
            warnings.warn(f"backend 'auto': '{found}' is {why}", stacklevel=3)
    contenders = CONTENDERS.get(device.type, ())
    if found in contenders:
        absent = {n: reason for n in contenders if (reason := _refusal(get_backend(n), device, precision))}
        if absent:
            return Selection(get_backend(found), f"{why}; " + ", ".join(f"'{n}': {r}" for n, r in absent.items()))
        members = {n: get_backend(n) for n in contenders}
        decided = contest(members, device, precision, by_batch, batch_invariant)
        if isinstance(decided, Selection):
            return decided
        why = f"{why}; {decided}"
    return Selection(get_backend(found), why)


def _refusal(backend: Backend, device: torch.device, precision: str) -> str:
    """Why a backend does not take tensors of ``device`` in ``precision``; empty where it does."""
    availability = backend.availability()
    if not availability.available:
        return availability.reason
    if device.type not in backend.devices():
        return f"takes tensors on {' or '.join(backend.devices())}, got {device}"
    served = backend.precisions(device)
    return "" if precision in served else f"serves {', '.join(served)} on {device.type}, got {precision}"
