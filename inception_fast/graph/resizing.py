"""One model captured for many image sizes.

A further size needs no export where the model calls the same operators with the same arguments for it as for a size
before, shapes of what they compute aside: a number that depends on the size is an argument or decides which operators
are called. Then the exported graph of the one size is that of the other, with other shapes: so long as the model calls
the same for one image, not traced, as for several, traced, at both sizes.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from inception_fast.errors import CaptureError
from inception_fast.graph.branches import HELD, Call, calls_of
from inception_fast.graph.capture import Captured, capture_anew, check_example, check_model, translated
from inception_fast.graph.export import EXPORTING, Exported, constants_of
from inception_fast.graph.fakes import shaped

MOST_KNOWN = 4
"""Exported graphs that are kept, of models that compute otherwise at some sizes than at others."""


@dataclass(frozen=True)
class _Known:
    """A model as it was exported for one size.

    Attributes:
        program: without the model's own tensors, which live as long as the model.
        own: those, by their names in the program.
        calls: what the model calls.
        dtype: of its images.
        computes_in: as :class:`~inception_fast.graph.capture.Captured` has it.
    """

    program: Exported
    own: dict[str, weakref.ref[Tensor]]
    calls: list[Call]
    channels: int
    dtype: torch.dtype
    computes_in: torch.dtype
    device: torch.device

    def serves(self, example: Tensor, calls: list[Call]) -> bool:
        """Whether these are the same calls for images of another size."""
        if (self.channels, self.dtype, self.device) != (example.shape[1], example.dtype, example.device):
            return False
        alive = [reference() for reference in self.own.values()]
        if any(tensor is None for tensor in alive) or len(calls) != len(self.calls):
            return False
        own = {id(tensor) for tensor in alive}
        return all(_alike(a.what, b.what, own) for a, b in zip(self.calls, calls, strict=True))

    def at(self, example: Tensor) -> Captured:
        """The Graph for images like those of ``example``."""
        tensors = {name: reference() for name, reference in self.own.items()}
        program = replace(self.program, state_dict={**self.program.state_dict, **tensors})
        with EXPORTING:
            _reshape(program, example.shape[1:])
            return translated(program, self.computes_in)


class Captures:
    """:func:`~inception_fast.graph.capture.capture` of one model whose weights stay, size by size, in any thread."""

    def __init__(self) -> None:
        self._known: list[_Known] = []
        self._lock = threading.Lock()

    def capture(self, model: nn.Module, example_inputs: Tensor) -> Captured:
        """As :func:`~inception_fast.graph.capture.capture`, with what is known of sizes before."""
        check_model(model)
        example = check_example(example_inputs, model)
        with self._lock:
            known = tuple(self._known)
        calls = None
        if known:
            # Of a failure the export says more.
            with suppress(CaptureError):
                calls = calls_of(model, example, EXPORTING)
            for candidate in known:
                if calls is not None and candidate.serves(example, calls):
                    return candidate.at(example)
        program, captured, calls = capture_anew(model, example, calls)
        if calls is not None and _is_plain(program.graph):
            with self._lock:
                self._known = [*self._known, _known(program, model, calls, example, captured)][-MOST_KNOWN:]
        return captured


def _known(
    program: ExportedProgram, model: nn.Module, calls: list[Call], example: Tensor, captured: Captured
) -> _Known:
    owned = {id(t) for t in (*model.parameters(), *model.buffers())}
    tensors = {**program.constants, **program.state_dict}
    own = {name: weakref.ref(t) for name, t in tensors.items() if id(t) in owned}
    others = {name: t for name, t in tensors.items() if name not in own}
    kept = Exported(program.graph, program.graph_signature, program.call_spec, others, {})
    return _Known(kept, own, calls, example.shape[1], example.dtype, captured.dtype, example.device)


def _alike(a: Any, b: Any, own: Collection[int]) -> bool:
    """Whether two calls have the same operator and arguments, shapes aside.

    Args:
        own: ids of tensors that are alive.
    """
    if type(a) is not type(b):
        return False
    if not isinstance(a, tuple):
        return a == b or (a != a and b != b)
    if a[:1] == b[:1] == ("computed",):
        return a[1] == b[1] and len(a) == len(b)
    if a[:1] == b[:1] == (HELD,):
        return a[1] == b[1] and a[1] in own
    return len(a) == len(b) and all(_alike(x, y, own) for x, y in zip(a, b, strict=True))


def _is_plain(graph: fx.Graph) -> bool:
    """Whether every value of a graph is an operator's that can be asked for its shape again."""
    return all(node.op in ("placeholder", "call_function", "output") for node in graph.nodes)


def _reshape(program: Exported, shape: torch.Size) -> None:
    """Puts the shapes of what a program computes for images ``[C, H, W]`` in the place of those that it was exported
    for.
    """
    constants = constants_of(program)
    with torch.inference_mode():
        for node in program.graph.nodes:
            if node.op == "placeholder" and node.name not in constants:
                old = node.meta["val"]
                mode = old.fake_mode
                node.meta["val"] = old.new_empty((old.shape[0], *shape))
            elif node.op == "call_function":
                args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: n.meta["val"])
                with mode:
                    node.meta["val"] = shaped(node.target, args, kwargs)
