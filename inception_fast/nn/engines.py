"""The fast forms of one module: an engine for each image size that it is called with, as long as its weights stay and
there is room for it.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from inception_fast.backends import get_backend, selection
from inception_fast.errors import InputError
from inception_fast.fast_model import FastModel
from inception_fast.graph.capture import Captured, capture
from inception_fast.graph.structure import OutputStructure
from inception_fast.nn.kinds import DESCRIPTIONS, Kind, kind_of
from inception_fast.optimization import check_precision, make_engine

MEMORY_LIMIT = 2**30
"""Bytes that the engines of one module, or of all parts of a swapped model, may hold."""
PATIENCE = 16
"""Calls that a size without room makes before it gets the place of one that nobody has called meanwhile."""
_MAX_WAITING = 1024
_OVERHEAD = 2**20
"""What an engine holds besides its weights, counted generously."""


@dataclass(frozen=True)
class Options:
    """Keyword arguments of :func:`inception_fast.optimize`, and the bytes that engines may hold."""

    precision: str = "fp32"
    backend: str = "auto"
    batch_invariant: bool = False
    memory_limit: int = MEMORY_LIMIT

    def __post_init__(self) -> None:
        if type(self.memory_limit) is not int or self.memory_limit < 0:
            raise InputError("memory_limit", repr(self.memory_limit), "bytes, a whole number that is not negative")
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


class Budget:
    """Memory that the engines of several modules share."""

    def __init__(self) -> None:
        self._held: weakref.WeakKeyDictionary[Engines, int] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """Bytes."""
        with self._lock:
            return sum(self._held.values())

    def note(self, engines: Engines, held: int) -> None:
        """What a module's engines hold now."""
        with self._lock:
            self._held[engines] = held


@dataclass
class _Entry:
    engine: FastModel
    last_call: int


_Key = tuple[torch.Size, torch.dtype]


class Engines:
    """See the module. Safe to use from several threads; a copy starts without engines.

    A module is captured anew for each image size, since it may compute with the size (padding that depends on it, a
    pool over the whole image), which a Graph does not show.

    Every module gets at least one engine. Beyond ``options.memory_limit`` a size has none, and the original module is
    to compute it, until it has been called often while another size was not called at all: sizes that take turns would
    otherwise be built anew at every call. Where images must not depend on their batch, which the original does not
    promise, the size that was not called for longest makes room at once.

    Args:
        options: how to build the engines.
        kinds: what the module may be; empty means anything.
        budget: shared with the engines of other modules.
    """

    def __init__(self, options: Options, kinds: Collection[Kind] = (), budget: Budget | None = None) -> None:
        self.options, self._kinds = options, kinds
        self.facts: Facts | None = None
        self._budget = budget or Budget()
        self._fingerprint: Fingerprint | None = None
        self._engines: OrderedDict[_Key, _Entry] = OrderedDict()
        self._waiting: OrderedDict[_Key, deque[int]] = OrderedDict()
        self._constants: dict[str, torch.Tensor] = {}
        self._calls, self._warned = 0, False
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.options, self._kinds)

    @property
    def alive(self) -> bool:
        """False where the weights that the engines were built from are gone."""
        return self._fingerprint is None or self._fingerprint.alive

    def __len__(self) -> int:
        """Sizes that have an engine."""
        return len(self._engines)

    @property
    def memory(self) -> int:
        """Bytes that the engines hold: weights packed and not, and what comes with an engine. The memory of a call is
        not among them, which its backend keeps bounded.
        """
        constants = {t.data_ptr(): t.nbytes for e in self._engines.values() for t in e.engine.engine.constants.values()}
        packed = sum(e.engine.weight_bytes + _OVERHEAD for e in self._engines.values())
        return packed + sum(constants.values())

    def get(
        self, x: torch.Tensor, weights: Callable[[], Sequence[torch.Tensor]], module: Callable[[], nn.Module]
    ) -> FastModel | None:
        """The engine for images like those of ``x``; None where there is no room for one, and the original module
        computes them.

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
                self._constants.clear()
                self.facts, self._fingerprint = None, Fingerprint(tensors)
                self._budget.note(self, 0)
            self._calls += 1
            entry = self._engines.get(key)
            if entry is None:
                if not self._make_room(key):
                    return None
                engine = self._build(self.examine(module(), x), x.detach())
                entry = self._engines[key] = _Entry(engine, self._calls)
                self._waiting.pop(key, None)
                self._budget.note(self, self.memory)
            entry.last_call = self._calls
            self._engines.move_to_end(key)
            return entry.engine

    def _make_room(self, key: _Key) -> bool:
        """Whether an engine may be built for a size, another one having been let go where it must be."""
        if not self._engines:
            return True
        oldest = next(iter(self._engines.values()))
        # One more is about as large as the largest.
        expected = max(entry.engine.weight_bytes for entry in self._engines.values()) + _OVERHEAD
        if self._budget.held + expected <= self.options.memory_limit:
            return True
        if not self.options.batch_invariant:
            calls = self._waiting.setdefault(key, deque(maxlen=PATIENCE))
            calls.append(self._calls)
            self._waiting.move_to_end(key)
            if len(self._waiting) > _MAX_WAITING:
                self._waiting.popitem(last=False)
            if len(calls) < PATIENCE or calls[0] < oldest.last_call:
                self._warn(key)
                return False
        self._engines.popitem(last=False)
        return True

    def _warn(self, key: _Key) -> None:
        if not self._warned:
            self._warned = True
            size = "x".join(map(str, key[0]))
            warnings.warn(
                f"engines for {len(self)} image sizes hold {self.memory / 2**20:.0f} MiB, and all that share "
                f"memory_limit={self.options.memory_limit} fill it: images of {size} run on the original module, and "
                "so may those of other sizes",
                stacklevel=4,
            )

    def _build(self, captured: Captured, example: torch.Tensor) -> FastModel:
        o = self.options
        lowering = selection(o.backend, example.device, o.precision, batch_invariant=o.batch_invariant).backend.lowering
        engine = make_engine(captured, example, o.precision, lowering, o.batch_invariant)
        # Constants are the same at most sizes, and then one copy does for all.
        shared = {name: self._shared(name, tensor) for name, tensor in engine.constants.items()}
        return FastModel(replace(engine, constants=shared), captured.structure, o.backend, example.device)

    def _shared(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        known = self._constants.setdefault(name, tensor)
        alike = known.dtype == tensor.dtype and known.shape == tensor.shape and torch.equal(known, tensor)
        return known if alike else tensor

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
