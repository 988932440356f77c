"""Whether a module is still what engines were built from."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import torch
from torch import nn

from inception_fast.nn.constants import Attributes
from inception_fast.nn.glance import Glance


class Fingerprint:
    """Tells whether tensors, modules and values are still those that it was taken of, the tensors were not written to,
    and the modules compute with the same :class:`Attributes`.

    Writes through ``tensor.data`` leave no trace in PyTorch and go unnoticed; giving ``tensor.data`` other memory does
    not. Tensors and modules are not kept alive; all else is compared by value.

    Args:
        glance: at the same module, taken before ``contents`` were.
    """

    def __init__(self, contents: Sequence[object], glance: Glance | None = None) -> None:
        self.alive, self._glance = True, glance
        # An id may be used again once its object has died, so a death ends the fingerprint.
        self._references = [weakref.ref(c, self._end) for c in contents if isinstance(c, torch.Tensor | nn.Module)]
        self._state = _state(contents)
        self._attributes = [(i, Attributes(c)) for i, c in enumerate(contents) if isinstance(c, nn.Module)]

    def holds(self) -> bool:
        """Whether a glance is enough to say that it matches; False says nothing."""
        return self._glance is not None and self.alive and self._glance.holds()

    def matches(self, contents: Sequence[object]) -> bool:
        if not self.alive or self._state != _state(contents):
            return False
        return all(attributes.are_those_of(contents[i]) for i, attributes in self._attributes)  # type: ignore[arg-type]

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
