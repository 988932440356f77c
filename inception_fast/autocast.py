"""``torch.autocast``: what it would make of a module, and how to keep it out of one."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

CASTS = frozenset([torch.float32, torch.float16, torch.bfloat16])
"""Types that autocast turns into one another."""
_is_any_autocast_enabled = torch._C._is_any_autocast_enabled


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """The type that operators on ``device`` are cast to here, None where autocast is off."""
    # Asked at every call; a device's type is a string that is made anew each time.
    if not _is_any_autocast_enabled() or device.type == "meta" or not torch.is_autocast_enabled(device.type):
        return None
    return torch.get_autocast_dtype(device.type)


def no_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """A precision is the engine's, and operators of PyTorch within keep to it."""
    return autocast_to(None, device) if _is_any_autocast_enabled() else nullcontext()


def autocast_to(dtype: torch.dtype | None, device: torch.device) -> AbstractContextManager[Any]:
    """Autocast to ``dtype``, None for none, whatever is on outside."""
    if device.type == "meta":
        return nullcontext()
    return torch.autocast(device.type, dtype, enabled=dtype is not None)
