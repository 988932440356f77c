"""The fast forms of one module, for the kinds of calls that it gets, as long as its weights stay."""

from __future__ import annotations

import threading
import warnings
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from inception_fast.backends import get_backend
from inception_fast.errors import InceptionFastError, InputError
from inception_fast.fast_model import FastModel
from inception_fast.nn.fingerprint import Fingerprint
from inception_fast.nn.glance import Glance
from inception_fast.precision import check_precision
from inception_fast.shared_weights import SharedWeights

MEMORY_LIMIT = 2**30
"""Bytes that the engines of one module, or of all parts of a swapped model, may hold."""
_ATTEMPTS = 3
"""At building an engine whose weights somebody writes to meanwhile."""
_OVERHEAD = 2**20
"""What an engine holds besides its weights, counted generously."""

Call = TypeVar("Call")
Form = TypeVar("Form")
Result = TypeVar("Result")


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


class Budget:
    """Memory that the engines of several modules share."""

    def __init__(self) -> None:
        self._held: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """Bytes."""
        with self._lock:
            return sum(self._held.values())

    def note(self, forms: Forms[Any, Any], held: int, limit: float = inf) -> bool:
        """Notes what a module's forms hold now, and returns whether all then hold no more than ``limit``; else it notes
        nothing.
        """
        with self._lock:
            others = sum(h for f, h in self._held.items() if f is not forms)
            if others + held > limit:
                return False
            self._held[forms] = held
            return True


class Forms(ABC, Generic[Call, Form]):
    """See the module. Safe to use from several threads; a copy starts without any form.

    A form stays until the weights change. Every module gets at least one; a call whose form would be beyond
    ``options.memory_limit`` has none, nor have the new ones after it, and the original module is to compute them. While
    a form is built, those that are known go on in other threads.

    Args:
        options: how to build the engines.
        budget: shared with the forms of other modules.
        warns: where there is no room.
    """

    def __init__(self, options: Options, budget: Budget | None = None, warns: bool = True) -> None:
        self.options = options
        self._budget = budget or Budget()
        self._lock, self._building = threading.Lock(), threading.Lock()
        self._fingerprint = Fingerprint(())
        self._start_anew(self._fingerprint)
        self._warned = not warns

    def _start_anew(self, fingerprint: Fingerprint) -> None:
        self._fingerprint, self._full = fingerprint, False
        self._made: list[Form] = []
        self._weights = SharedWeights()
        self._budget.note(self, 0)

    @property
    def alive(self) -> bool:
        """False where the weights that the forms were built from are gone."""
        return self._fingerprint.alive

    @property
    def forms(self) -> list[Form]:
        """Those that there are."""
        with self._lock:
            return list(self._made)

    def __len__(self) -> int:
        """Kinds of calls that have a form."""
        return len(self._made)

    @property
    def memory(self) -> int:
        """Bytes that the engines hold, what several of them share once: weights packed and not, and what comes with an
        engine. The memory of a call is not among them, which its backend keeps bounded.
        """
        with self._lock:
            return _memory(self._engines_of(self._made))

    def at_a_glance(self, call: Call) -> Form | None:
        """The form for such a call, where a glance tells that all is as it was; None says nothing."""
        with self._lock:
            if not self._fingerprint.holds():
                return None
            try:
                return self._find(call)
            except InceptionFastError:
                # It is :meth:`get` that says so.
                return None

    def get(
        self,
        call: Call,
        weights: Callable[[], Sequence[object]],
        module: Callable[[], nn.Module],
        glance: Callable[[], Glance | None] = lambda: None,
    ) -> Form | None:
        """The form for such a call; None where there is no room for one, and the original module computes it.

        Args:
            weights: gives what the module consists of, see :class:`Fingerprint`; other tensors, or other values in
                them, discard every form.
            module: gives the module with these weights, in eval mode.
            glance: at the module, for :meth:`at_a_glance`.

        Raises:
            InceptionFastError: as :func:`inception_fast.optimize`.
        """
        with self._lock:
            known = self._known(call, weights, glance)
        if not isinstance(known, Fingerprint):
            return known
        # One after the other: the next one finds what this one has packed.
        with self._building:
            for _ in range(_ATTEMPTS):
                with self._lock:
                    known = self._known(call, weights, glance)
                if not isinstance(known, Fingerprint):
                    return known
                form, note = self._build(call, module())
                with self._lock:
                    if known is self._fingerprint and known.matches(weights()):
                        return self._keep(call, form, note)
        # Somebody writes to the weights all the time: this one is for those of a moment ago.
        return form

    def _known(
        self, call: Call, weights: Callable[[], Sequence[object]], glance: Callable[[], Glance | None]
    ) -> Form | Fingerprint | None:
        """The form for a call; None where there is no room for one; what the weights are like where it has yet to be
        built.
        """
        if not self._fingerprint.matches(weights()):
            before = glance()
            self._start_anew(Fingerprint(weights(), before))
        form = self._find(call)
        if form is not None:
            return form
        if self._made and (self._full or self._budget.held + _OVERHEAD > self.options.memory_limit):
            self._warn(call)
            return None
        return self._fingerprint

    def _keep(self, call: Call, form: Form, note: Callable[[], None]) -> Form | None:
        """The form, or None where it would be beyond the limit."""
        held = _memory(self._engines_of([*self._made, form]))
        limit = self.options.memory_limit if self._made else inf
        if not self._budget.note(self, held, limit):
            self._full = True
            self._warn(call)
            return None
        self._made.append(form)
        note()
        return form

    def _warn(self, call: Call) -> None:
        if not self._warned:
            self._warned = True
            held = _memory(self._engines_of(self._made)) / 2**20
            warnings.warn(
                f"engines for {self._kinds_of_calls()} hold {held:.0f} MiB, and all that share memory_limit="
                f"{self.options.memory_limit} fill it: {self._name(call)} run on the original module, and so do those "
                "of other new sizes",
                stacklevel=5,
            )

    @abstractmethod
    def _find(self, call: Call) -> Form | None:
        """The form that takes such a call, of those that were made."""

    @abstractmethod
    def _build(self, call: Call, module: nn.Module) -> tuple[Form, Callable[[], None]]:
        """A new form, and what to do once it is kept."""

    @abstractmethod
    def _engines_of(self, forms: Iterable[Form]) -> list[FastModel]: ...

    @abstractmethod
    def _name(self, call: Call) -> str:
        """Such calls, for people."""

    @abstractmethod
    def _kinds_of_calls(self) -> str:
        """Those that have forms, for people."""


def run_apart(task: Callable[[], Result], device: torch.device) -> Result:
    """``task`` in a thread of its own: PyTorch keeps by thread what a trace or an operator has under way, and an export
    in the middle of either would mix with it.
    """
    stream = torch.cuda.current_stream(device) if device.type == "cuda" else None

    def run() -> Result:
        with torch.cuda.stream(stream):
            return task()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


def _memory(engines: Iterable[FastModel]) -> int:
    engines = list(engines)
    constants = {t.data_ptr(): t.nbytes for e in engines for t in e.engine.constants.values()}
    packed = {key: size for e in engines for key, size in e.packed.items()}
    return sum(constants.values()) + sum(packed.values()) + _OVERHEAD * len(engines)
