"""The fast forms of one module that is served as a whole: an engine for each image size that it is called with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from inception_fast.artefacts.choose import module_of
from inception_fast.backends import selection
from inception_fast.compilation import make_engine
from inception_fast.errors import CaptureError, InceptionFastError, InputError, UnsupportedOpError
from inception_fast.fast_model import FastModel
from inception_fast.graph.capture import Captured
from inception_fast.graph.resizing import Captures
from inception_fast.graph.structure import OutputStructure
from inception_fast.nn.fingerprint import Fingerprint
from inception_fast.nn.forms import Budget, Forms, Options, run_apart
from inception_fast.nn.kinds import DESCRIPTIONS, Kind, kind_of
from inception_fast.template import Known


@dataclass(frozen=True)
class Facts:
    """What holds for a module at every image size.

    Attributes:
        channels: of its input.
        layout: of its input; None for NCHW.
    """

    kind: Kind
    channels: int
    structure: OutputStructure
    layout: str | None = None


_Key = tuple[torch.Size, torch.dtype]


class Engines(Forms[torch.Tensor, FastModel]):
    """See the module; a call is a tensor ``[N, C, H, W]``.

    A module may compute with the size of its images (padding that depends on it, a pool over the whole image), which a
    Graph does not show. So for each size it is run on tensors without values, and exported anew where it calls other
    operators than for the sizes before. What is alike at several sizes is one: constants, their packed form where a
    size needs no other layout than those before it, the memory of a call, how much rounding each convolution may add,
    and what the passes made of the network. So a further size costs little more than a Plan.

    Args:
        options, budget, warns: as for :class:`Forms`.
        kinds: what the module may be; empty means anything.
    """

    def __init__(
        self, options: Options, kinds: Collection[Kind] = (), budget: Budget | None = None, warns: bool = True
    ) -> None:
        self._kinds = kinds
        super().__init__(options, budget, warns)

    def _start_anew(self, fingerprint: Fingerprint) -> None:
        super()._start_anew(fingerprint)
        self.facts: Facts | None = None
        self._engines: dict[_Key, FastModel] = {}
        self._refused: dict[_Key, InceptionFastError] = {}
        self._known_networks = Known()
        self._captures = Captures()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.options, self._kinds)

    def _find(self, x: torch.Tensor) -> FastModel | None:
        key = (x.shape[1:], x.dtype)
        if self._refused and (error := self._refused.get(key)):
            raise error.with_traceback(None)
        return self._engines.get(key)

    def _build(self, x: torch.Tensor, module: nn.Module) -> tuple[FastModel, Callable[[], None]]:
        try:
            captured = self._capture(module, x)
        except (UnsupportedOpError, CaptureError) as error:
            # Not to be tried at every call.
            self._refused[x.shape[1:], x.dtype] = error.with_traceback(None)
            raise
        example, o = x.detach(), self.options
        lowering = selection(o.backend, example.device, o.precision, batch_invariant=o.batch_invariant).backend.lowering
        found = make_engine(captured, example, o.precision, lowering, o.batch_invariant, known=self._known_networks)
        engine = self._weights.fast_model(found, captured.structure, o.backend, example.device)
        return engine, partial(self._note, (x.shape[1:], x.dtype), engine, captured)

    def _note(self, key: _Key, engine: FastModel, captured: Captured) -> None:
        self._engines[key] = engine
        self.facts = _facts_of(captured)

    def examine(self, module: nn.Module, x: torch.Tensor) -> None:
        """Captures the module, and raises where it is not of the right kind."""
        self.facts = _facts_of(self._capture(module, x))

    def _capture(self, module: nn.Module, x: torch.Tensor) -> Captured:
        """The module as it computes for images like those of ``x``, once it is known to be of the right kind."""
        facts = self.facts
        if facts and x.shape[1 if facts.layout is None else 3] != facts.channels:
            c = facts.channels
            raise InputError(
                "x", f"shape {list(x.shape)}", f"[N, {c}, H, W]" if facts.layout is None else f"[N, H, W, {c}]"
            )
        try:
            captured = run_apart(lambda: self._captures.capture(module_of(module), x.detach()), x.device)
        except InputError as error:
            if error.argument != "example_inputs":
                raise
            raise type(error)("x", error.got, error.expected) from None
        kind = kind_of(captured.graph)
        if self._kinds and kind not in self._kinds:
            raise InputError("module", DESCRIPTIONS[kind], " or ".join(DESCRIPTIONS[k] for k in self._kinds))
        return captured

    def _engines_of(self, forms: Iterable[FastModel]) -> list[FastModel]:
        return list(forms)

    def _name(self, x: torch.Tensor) -> str:
        return f"images of {'x'.join(map(str, x.shape[1:]))}"

    def _kinds_of_calls(self) -> str:
        return f"{len(self)} image sizes"


def _facts_of(captured: Captured) -> Facts:
    channels = captured.graph.shapes[captured.graph.input.name][0]
    return Facts(kind_of(captured.graph), channels, captured.structure, captured.layout)
