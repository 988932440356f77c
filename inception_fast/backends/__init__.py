"""The backends by name, and which of them can run here."""

from __future__ import annotations

import importlib
from functools import cache

import torch

from inception_fast.backends.base import Availability, Backend, Executor, Lowering
from inception_fast.errors import BackendUnavailableError, InputError

__all__ = ["Availability", "Backend", "Executor", "Lowering", "backends", "get_backend", "names", "select_backend"]

_CLASSES = {
    "reference": "reference.ReferenceBackend",
    "torch": "torch.TorchBackend",
    "cpu": "cpu.CpuBackend",
    "triton": "triton.TritonBackend",
    "cuda": "cuda.CudaBackend",
}
_PREFERENCE = {"cpu": ("cpu", "torch", "reference"), "cuda": ("triton", "torch", "reference")}
"""Best first, for ``auto``, by device type."""


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
    """The backend that a name means for tensors on ``device``; ``auto`` is the best that can serve them.

    Raises:
        InputError: unknown name.
        BackendUnavailableError: it cannot run here, or not on this device or in this precision.
    """
    if name != "auto":
        backend = get_backend(name)
        reason = _refusal(backend, device, precision)
        if reason:
            raise BackendUnavailableError(f"backend '{name}': {reason}")
        return backend
    for candidate in _PREFERENCE.get(device.type, ()):
        if not _refusal(get_backend(candidate), device, precision):
            return get_backend(candidate)
    raise BackendUnavailableError(f"backend 'auto': none runs {precision} on device type '{device.type}'")


def _refusal(backend: Backend, device: torch.device, precision: str) -> str:
    """Why a backend does not take tensors of ``device`` in ``precision``; empty where it does."""
    availability = backend.availability()
    if not availability.available:
        return availability.reason
    if device.type not in backend.devices():
        return f"takes tensors on {' or '.join(backend.devices())}, got {device}"
    served = backend.precisions(device)
    return "" if precision in served else f"serves {', '.join(served)} on {device.type}, got {precision}"
