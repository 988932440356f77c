"""The fast forms of one module: an engine for each image size that it is called with, as long as its weights stay."""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import torch
from torch import nn

from inception_fast.backends import get_backend, selection
from inception_fast.backends.shared import Shared
from inception_fast.errors import InputError
from inception_fast.fast_model import FastModel
from inception_fast.graph.capture import Captured, capture
from inception_fast.graph.structure import OutputStructure
from inception_fast.nn.fingerprint import Fingerprint
from inception_fast.nn.kinds import DESCRIPTIONS, Kind, kind_of
from inception_fast.optimization import check_precision, make_engine
from inception_fast.plan.plan import Sensitivity

MEMORY_LIMIT = 2**30
"""Bytes that the engines of one module, or of all parts of a swapped model, may hold."""
_ATTEMPTS = 3
"""At building an engine whose weights somebody writes to meanwhile."""
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

    def note(self, engines: Engines, held: int, limit: float = inf) -> bool:
        """Notes what a module's engines hold now, and returns whether all then hold no more than ``limit``; else it
        notes nothing.
        """
        with self._lock:
            others = sum(h for e, h in self._held.items() if e is not engines)
            if others + held > limit:
                return False
            self._held[engines] = held
            return True


_Key = tuple[torch.Size, torch.dtype]


class Engines:
    """See the module. Safe to use from several threads; a copy starts without engines.

    A module is captured anew for each image size, since it may compute with the size (padding that depends on it, a
    pool over the whole image), which a Graph does not show. What is alike at several sizes is one: constants, their
    packed form where a size needs no other layout than those before it, the memory of a call, and how much rounding
    each convolution may add. So a further size costs little more than its Plan.

    An engine stays until the weights change. Every module gets at least one; a size whose engine would be beyond
    ``options.memory_limit`` has none, nor have the new sizes after it, and the original module is to compute them.

    While a size is built, those that are known go on in other threads.

    Args:
        options: how to build the engines.
        kinds: what the module may be; empty means anything.
        budget: shared with the engines of other modules.
        warns: where there is no room.
    """

    def __init__(
        self, options: Options, kinds: Collection[Kind] = (), budget: Budget | None = None, warns: bool = True
    ) -> None:
        self.options, self._kinds = options, kinds
        self.facts: Facts | None = None
        self._budget = budget or Budget()
        self._lock, self._building = threading.Lock(), threading.Lock()
        self._fingerprint = Fingerprint(())
        self._start_anew(self._fingerprint)
        self._warned = not warns

    def _start_anew(self, fingerprint: Fingerprint) -> None:
        self.facts, self._fingerprint, self._full = None, fingerprint, False
        self._engines: dict[_Key, FastModel] = {}
        self._constants: dict[str, torch.Tensor] = {}
        self._shared, self._sensitivities = Shared(), dict[bytes, dict[str, Sensitivity]]()
        self._budget.note(self, 0)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.options, self._kinds)

    @property
    def alive(self) -> bool:
        """False where the weights that the engines were built from are gone."""
        return self._fingerprint.alive

    def __len__(self) -> int:
        """Sizes that have an engine."""
        return len(self._engines)

    @property
    def memory(self) -> int:
        """Bytes that the engines hold, what several of them share once: weights packed and not, and what comes with an
        engine. The memory of a call is not among them, which its backend keeps bounded.
        """
        with self._lock:
            return _memory(self._engines.values())

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
            known = self._known(key, weights())
        if not isinstance(known, Fingerprint):
            return known
        # One size after the other: the next one finds what this one has packed.
        with self._building:
            for _ in range(_ATTEMPTS):
                with self._lock:
                    known = self._known(key, weights())
                if not isinstance(known, Fingerprint):
                    return known
                captured = self._capture(module(), x)
                engine = self._build(captured, x.detach())
                with self._lock:
                    if known is self._fingerprint and known.matches(weights()):
                        return self._keep(key, engine, captured)
        # Somebody writes to the weights all the time: this one is for those of a moment ago.
        return engine

    def _known(self, key: _Key, tensors: Sequence[torch.Tensor]) -> FastModel | Fingerprint | None:
        """The engine of a size; None where there is no room for one; what the weights are like where it has yet to be
        built.
        """
        if not self._fingerprint.matches(tensors):
            self._start_anew(Fingerprint(tensors))
        engine = self._engines.get(key)
        if engine is not None:
            return engine
        if self._engines and (self._full or self._budget.held + _OVERHEAD > self.options.memory_limit):
            self._warn(key)
            return None
        return self._fingerprint

    def _keep(self, key: _Key, engine: FastModel, captured: Captured) -> FastModel | None:
        """The engine, or None where it would be beyond the limit."""
        held = _memory([*self._engines.values(), engine])
        limit = self.options.memory_limit if self._engines else inf
        if not self._budget.note(self, held, limit):
            self._full = True
            self._warn(key)
            return None
        self._engines[key] = engine
        self.facts = self._facts_of(captured)
        return engine

    def _warn(self, key: _Key) -> None:
        if not self._warned:
            self._warned = True
            size = "x".join(map(str, key[0]))
            warnings.warn(
                f"engines for {len(self)} image sizes hold {_memory(self._engines.values()) / 2**20:.0f} MiB, and all "
                f"that share memory_limit={self.options.memory_limit} fill it: images of {size} run on the original "
                "module, and so do those of other new sizes",
                stacklevel=5,
            )

    def _build(self, captured: Captured, example: torch.Tensor) -> FastModel:
        o = self.options
        constants, shared, sensitivities = self._constants, self._shared, self._sensitivities
        lowering = selection(o.backend, example.device, o.precision, batch_invariant=o.batch_invariant).backend.lowering
        engine = make_engine(
            captured, example, o.precision, lowering, o.batch_invariant, known_sensitivities=sensitivities
        )
        # Constants are the same at most sizes, and then one copy does for all.
        alike = {name: _alike(constants.setdefault(name, t), t) for name, t in engine.constants.items()}
        return FastModel(replace(engine, constants=alike), captured.structure, o.backend, example.device, shared)

    def examine(self, module: nn.Module, x: torch.Tensor) -> None:
        """Captures the module, and raises where it is not of the right kind."""
        self.facts = self._facts_of(self._capture(module, x))

    def _facts_of(self, captured: Captured) -> Facts:
        channels = captured.graph.shapes[captured.graph.input.name][0]
        return Facts(kind_of(captured.graph), channels, captured.structure)

    def _capture(self, module: nn.Module, x: torch.Tensor) -> Captured:
        """The module as it computes for images like those of ``x``, once it is known to be of the right kind."""
        facts = self.facts
        if facts and x.shape[1] != facts.channels:
            raise InputError("x", f"shape {list(x.shape)}", f"[N, {facts.channels}, H, W]")
        try:
            captured = _capture_apart(module, x)
        except InputError as error:
            if error.argument != "example_inputs":
                raise
            raise type(error)("x", error.got, error.expected) from None
        kind = kind_of(captured.graph)
        if self._kinds and kind not in self._kinds:
            raise InputError("module", DESCRIPTIONS[kind], " or ".join(DESCRIPTIONS[k] for k in self._kinds))
        return captured


def _memory(engines: Iterable[FastModel]) -> int:
    engines = list(engines)
    constants = {t.data_ptr(): t.nbytes for e in engines for t in e.engine.constants.values()}
    packed = {key: size for e in engines for key, size in e.packed.items()}
    return sum(constants.values()) + sum(packed.values()) + _OVERHEAD * len(engines)


def _alike(known: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """``known`` where it holds the same."""
    same = known.dtype == tensor.dtype and known.shape == tensor.shape and torch.equal(known, tensor)
    return known if same else tensor
