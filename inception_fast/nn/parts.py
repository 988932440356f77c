"""The fast forms of one module that is not served as a whole: its islands, for the arguments that it is called with."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from inception_fast.artefacts.choose import module_of
from inception_fast.compilation import build
from inception_fast.errors import CaptureError, InceptionFastError, InputError
from inception_fast.fast_model import FastModel
from inception_fast.graph.capture import Captured
from inception_fast.nn.cut_points import CutPoint
from inception_fast.nn.fingerprint import Fingerprint
from inception_fast.nn.forms import Budget, Forms, Options, run_apart
from inception_fast.partition.capture import Parts as CapturedParts
from inception_fast.partition.capture import capture_parts, example_of_call
from inception_fast.partition.partitioned_model import PartitionedModel
from inception_fast.partition.partitioning import partitioned

Fast = FastModel | PartitionedModel


@dataclass(frozen=True)
class Arguments:
    """What a module is called with."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]

    @property
    def tensors(self) -> list[torch.Tensor]:
        leaves = pytree.tree_leaves((self.args, self.kwargs))
        return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]

    @property
    def device(self) -> torch.device:
        """Of the first tensor; the CPU where there is none."""
        return next((t.device for t in self.tensors), torch.device("cpu"))

    def copied(self) -> Arguments:
        """The same with copies of the tensors, to be written to."""
        return Arguments(*_each_tensor(lambda t: t.detach().clone(), (self.args, self.kwargs)))

    def given_to(self, module: nn.Module) -> Any:
        """What a module returns for it."""
        return module(*self.args, **self.kwargs)

    @property
    def key(self) -> object:
        """Tells calls apart of which one might be served and the other not; of batch sizes, whether
        they are none.
        """
        leaves, spec = pytree.tree_flatten((tuple(self.args), dict(self.kwargs)))
        return str(spec), tuple(
            (leaf.dtype, leaf.device, leaf.shape[1:], leaf.shape[:1] == (0,))
            if isinstance(leaf, torch.Tensor)
            else repr(leaf)
            for leaf in leaves
        )

    def __str__(self) -> str:
        named = [f"{name}={describe(value)}" for name, value in self.kwargs.items()]
        return ", ".join([*map(describe, self.args), *named]) or "nothing"


def describe(value: Any) -> str:
    """An argument, for people."""
    if isinstance(value, torch.Tensor):
        return f"a {'quantised ' if value.is_quantized else ''}tensor {list(value.shape)}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    return type(value).__name__


class Parts(Forms[Arguments, Fast]):
    """See the module: a form for each kind of arguments that those before it do not take.

    Args:
        options, budget: as for :class:`Forms`.
        reason: why the module is not served as a whole, said once; None to say nothing.
        empty: whether a form without any engine will do.
    """

    def __init__(
        self, options: Options, budget: Budget | None = None, reason: Exception | None = None, empty: bool = False
    ) -> None:
        super().__init__(options, budget)
        self._reason, self._empty = reason, empty

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.options, None, self._reason, self._empty)

    def _start_anew(self, fingerprint: Fingerprint) -> None:
        super()._start_anew(fingerprint)
        self._refused: dict[object, InceptionFastError] = {}

    def _find(self, call: Arguments) -> Fast | None:
        if self._refused and (error := self._refused.get(call.key)):
            raise error.with_traceback(None)
        return next((model for model in self._made if _takes(model, call)), None)

    def _build(self, call: Arguments, module: nn.Module) -> tuple[Fast, Callable[[], None]]:
        try:
            model = run_apart(lambda: self._model(call, module_of(module)), call.device)
        except InceptionFastError as error:
            # Not to be tried at every call.
            self._refused[call.key] = error.with_traceback(None)
            raise
        if self._reason and not self._made:
            islands = len(self._engines_of([model]))
            warnings.warn(
                f"parts of the graph stay PyTorch's, {islands} run on fast kernels: {self._reason}", stacklevel=5
            )
        for point in getattr(model, "inner", ()):
            if isinstance(point, CutPoint):
                point.live = True
        return model, lambda: None

    def _model(self, call: Arguments, module: nn.Module) -> Fast:
        o = self.options
        example = example_of_call(module, *_each_tensor(torch.Tensor.detach, (call.args, call.kwargs)))
        captured = capture_parts(module, example)
        if isinstance(captured, Captured):
            return build(captured, example.tensors[0], o.precision, o.backend, o.batch_invariant)
        if not self._empty and not captured.layout.regions:
            raise CaptureError(f"nothing of it would run on fast kernels: {_why_nothing(captured)}")
        # A reason is said with how many engines there are.
        warns = self._reason is None
        return partitioned(
            captured, example, o.precision, o.backend, o.batch_invariant, weights=self._weights, warns=warns
        )

    def _engines_of(self, forms: Iterable[Fast]) -> list[FastModel]:
        return [e for f in forms for e in (f.engines.values() if isinstance(f, PartitionedModel) else [f])]

    def _name(self, call: Arguments) -> str:
        return f"calls with {call}"

    def _kinds_of_calls(self) -> str:
        return f"{len(self)} kinds of arguments"


def _each_tensor(
    change: Callable[[torch.Tensor], torch.Tensor], call: tuple[Sequence[Any], Mapping[str, Any]]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    return pytree.tree_map(lambda a: change(a) if isinstance(a, torch.Tensor) else a, call)  # type: ignore[no-any-return]


def _takes(model: Fast, call: Arguments) -> bool:
    try:
        if isinstance(model, FastModel):
            (x,) = call.tensors
            model.check(x)
        else:
            model.contract.checked(call.args, call.kwargs, None)
    except InputError:
        return False
    return True


def _why_nothing(captured: CapturedParts) -> str:
    reasons = list(dict.fromkeys(captured.found.reasons.get(n, "") for n in captured.layout.foreign))
    return "; ".join([r for r in reasons if r][:3]) or "it has no operators"
