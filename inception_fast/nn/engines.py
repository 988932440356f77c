"""The fast forms of one module: an engine for every image size that it is called with, as long as its weights stay."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from inception_fast.backends import get_backend
from inception_fast.errors import InputError
from inception_fast.fast_model import FastModel
from inception_fast.graph.capture import Captured, capture
from inception_fast.graph.structure import OutputStructure
from inception_fast.nn.kinds import DESCRIPTIONS, Kind, kind_of
from inception_fast.optimization import build, check_precision

MAX_SIZES = 16
"""Engines kept per module; each holds a packed copy of the weights."""


@dataclass(frozen=True)
class Options:
    """Keyword arguments of :func:`inception_fast.optimize`."""

    precision: str = "fp32"
    backend: str = "auto"
    batch_invariant: bool = False

    def __post_init__(self) -> None:
        check_precision(self.precision, calibrating=False)
        if self.backend != "auto":
            get_backend(self.backend)


@dataclass(frozen=True)
class Facts:
    """What holds for a module at every image size.

    Attributes:
        channels: of its input.
    """

    kind: Kind
    channels: int
    structure: OutputStructure


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


def _capture_apart(module: nn.Module, x: torch.Tensor) -> Captured:
    """:func:`capture` in a thread of its own: PyTorch keeps by thread what a trace or an operator has under way, and an
    export in the middle of either would mix with it.
    """
    stream = torch.cuda.current_stream(x.device) if x.is_cuda else None

    def run() -> Captured:
        with torch.cuda.stream(stream):
            return capture(module, x.detach())

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


def _state(tensors: Sequence[torch.Tensor]) -> list[object]:
    # Tensors made in inference mode count no versions.
    return [(id(t), t.data_ptr(), None if t.is_inference() else t._version) for t in tensors]


class Engines:
    """See the module. Safe to use from several threads; a copy starts without engines.

    A module is captured anew for each image size, since it may compute with the size (padding that depends on it, a
    pool over the whole image), which a Graph does not show.

    Args:
        options: how to build the engines.
        kinds: what the module may be; empty means anything.
    """

    def __init__(self, options: Options, kinds: Collection[Kind] = ()) -> None:
        self.options, self._kinds = options, kinds
        self.facts: Facts | None = None
        self._fingerprint: Fingerprint | None = None
        self._engines: OrderedDict[tuple[torch.Size, torch.dtype], FastModel] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.options, self._kinds)

    @property
    def alive(self) -> bool:
        """False where the weights that the engines were built from are gone."""
        return self._fingerprint is None or self._fingerprint.alive

    def get(
        self, x: torch.Tensor, weights: Callable[[], Sequence[torch.Tensor]], module: Callable[[], nn.Module]
    ) -> FastModel:
        """The engine for images like those of ``x``.

        Args:
            x: ``[N, C, H, W]``.
            weights: gives the module's tensors; other ones, or other values in them, discard every engine.
            module: gives the module with these weights, in eval mode.

        Raises:
            InputError: the module is not of the kinds, or ``x`` has another number of channels than before.
            InceptionFastError: as :func:`inception_fast.optimize`.
        """
        key = (x.shape[1:], x.dtype)
        with self._lock:
            # Inside the lock: while a module is captured, it holds tensors that are not its own.
            tensors = weights()
            if self._fingerprint is None or not self._fingerprint.matches(tensors):
                self._engines.clear()
                self.facts, self._fingerprint = None, Fingerprint(tensors)
            if key not in self._engines:
                captured, o = self.examine(module(), x), self.options
                self._engines[key] = build(captured, x.detach(), o.precision, o.backend, o.batch_invariant)
                while len(self._engines) > MAX_SIZES:
                    self._engines.popitem(last=False)
            self._engines.move_to_end(key)
            return self._engines[key]

    def examine(self, module: nn.Module, x: torch.Tensor) -> Captured:
        """The module as it computes for images like those of ``x``, once it is known to be of the right kind."""
        if self.facts and x.shape[1] != self.facts.channels:
            raise InputError("x", f"shape {list(x.shape)}", f"[N, {self.facts.channels}, H, W]")
        try:
            captured = _capture_apart(module, x)
        except InputError as error:
            if error.argument != "example_inputs":
                raise
            raise type(error)("x", error.got, error.expected) from None
        kind = kind_of(captured.graph)
        if self._kinds and kind not in self._kinds:
            raise InputError("module", DESCRIPTIONS[kind], " or ".join(DESCRIPTIONS[k] for k in self._kinds))
        self.facts = Facts(kind, x.shape[1], captured.structure)
        return captured
