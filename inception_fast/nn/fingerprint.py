"""Whether a module is still what engines were built from."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import torch
from torch import nn


class Fingerprint:
    """Tells whether tensors, modules and values are still those that it was taken of, and the tensors were not written
    to.

    Writes through ``tensor.data`` leave no trace in PyTorch and go unnoticed; giving ``tensor.data`` other memory does
    not. Tensors and modules are not kept alive; all else is compared by value.
    """

    def __init__(self, contents: Sequence[object]) -> None:
        self.alive = True
        # An id may be used again once its object has died, so a death ends the fingerprint.
        self._references = [weakref.ref(c, self._end) for c in contents if isinstance(c, torch.Tensor | nn.Module)]
        self._state = _state(contents)

    def matches(self, contents: Sequence[object]) -> bool:
        return self.alive and self._state == _state(contents)

    def _end(self, _: object) -> None:
        self.alive = False


def _state(contents: Sequence[object]) -> list[object]:
    # Tensors made in inference mode count no versions.
    return [
        (id(c), c.data_ptr(), None if c.is_inference() else c._version)
        if isinstance(c, torch.Tensor)
        else id(c)
        if isinstance(c, nn.Module)
        else c
        for c in contents
    ]
