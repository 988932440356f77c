"""Whether weights are still what engines were built from."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import torch


class Fingerprint:
    """Tells whether tensors are still those that it was taken of, and were not written to.

    Writes through ``tensor.data`` leave no trace in PyTorch and go unnoticed; giving ``tensor.data`` other memory does
    not. The tensors are not kept alive.
    """

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        self.alive = True
        # An id may be used again once its tensor has died, so a death ends the fingerprint.
        self._references = [weakref.ref(t, self._end) for t in tensors]
        self._state = _state(tensors)

    def matches(self, tensors: Sequence[torch.Tensor]) -> bool:
        return self.alive and self._state == _state(tensors)

    def _end(self, _: object) -> None:
        self.alive = False


def _state(tensors: Sequence[torch.Tensor]) -> list[object]:
    # Tensors made in inference mode count no versions.
    return [(id(t), t.data_ptr(), None if t.is_inference() else t._version) for t in tensors]
