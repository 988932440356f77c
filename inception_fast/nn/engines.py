"""The fast forms of one module: an engine for every image size that it is called with, as long as its weights stay."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from inception_fast.fast_model import FastModel
from inception_fast.graph.capture import Captured, capture
from inception_fast.optimization import build

MAX_SIZES = 16
"""Engines kept per module; each holds a packed copy of the weights."""


@dataclass(frozen=True)
class Options:
    """Keyword arguments of :func:`inception_fast.optimize`."""

    precision: str = "fp32"
    backend: str = "auto"
    batch_invariant: bool = False


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


class Engines:
    """See the module. Safe to use from several threads.

    A module is captured anew for each image size, since it may compute with the size (padding that depends on it, a
    pool over the whole image), which a Graph does not show.

    Args:
        options: how to build the engines.
        accept: called with what was captured, before it is built; raises where that is not what it should be.
    """

    def __init__(self, options: Options, accept: Callable[[Captured], None] = lambda _: None) -> None:
        self.options, self._accept = options, accept
        self._fingerprint: Fingerprint | None = None
        self._engines: OrderedDict[tuple[torch.Size, torch.dtype], FastModel] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def alive(self) -> bool:
        """False where the weights that the engines were built from are gone."""
        return self._fingerprint is None or self._fingerprint.alive

    def get(self, x: torch.Tensor, weights: Sequence[torch.Tensor], module: Callable[[], nn.Module]) -> FastModel:
        """The engine for images like those of ``x``.

        Args:
            x: ``[N, C, H, W]``.
            weights: the module's tensors; other ones, or other values in them, discard every engine.
            module: gives the module with these weights, in eval mode.

        Raises: as :func:`inception_fast.optimize`.
        """
        key = (x.shape[1:], x.dtype)
        with self._lock:
            if self._fingerprint is None or not self._fingerprint.matches(weights):
                self._engines.clear()
                self._fingerprint = Fingerprint(weights)
            if key not in self._engines:
                self._engines[key] = self._build(module(), x.detach())
                while len(self._engines) > MAX_SIZES:
                    self._engines.popitem(last=False)
            self._engines.move_to_end(key)
            return self._engines[key]

    def _build(self, module: nn.Module, x: torch.Tensor) -> FastModel:
        captured = capture(module, x)
        self._accept(captured)
        o = self.options
        return build(captured, x, o.precision, o.backend, o.batch_invariant)
