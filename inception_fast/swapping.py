"""``swap``: fast blocks in the place of slow ones, inside a model that is otherwise left as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from inception_fast.backends import select_backend
from inception_fast.errors import CaptureError, InceptionFastError, InputError, InputTypeError, UnsupportedOpError
from inception_fast.graph.foreign import foreign, is_exported
from inception_fast.nn import ConvBNReLU, FactorizedConv, InceptionBlock
from inception_fast.nn.block import Block, contents_of
from inception_fast.nn.engines import Engines
from inception_fast.nn.forms import MEMORY_LIMIT, Budget, Options
from inception_fast.report import Report

_CLASSES: dict[str, type[Block]] = {"ConvBNReLU": ConvBNReLU, "FactorizedConv": FactorizedConv}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True)
class Replaced:
    """A module that runs on fast kernels now.

    Attributes:
        kind: ``ConvBNReLU``, ``FactorizedConv``, ``InceptionBlock``, ``ResidualBlock`` or ``Network``.
        reports: what was fused in it, for each image size of the example.
    """

    path: str
    kind: str
    reports: tuple[Report, ...]

    def __str__(self) -> str:
        steps = ", ".join(f"{count} {kind}" for kind, count in self.reports[0].steps.items())
        return f"{self.path}: {self.kind}, {steps}"


@dataclass(frozen=True)
class LeftAlone:
    """A module with convolutions that stays as it was; parts of it may have been replaced."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class SwapReport:
    """Returned by :func:`swap`."""

    replaced: tuple[Replaced, ...]
    left_alone: tuple[LeftAlone, ...]

    def __str__(self) -> str:
        counts = ", ".join(f"{n} {kind}" for kind, n in Counter(r.kind for r in self.replaced).items())
        lines = [f"replaced: {counts or 'nothing'}", *(f"    {r}" for r in self.replaced)]
        return "\n".join([*lines, "left alone:", *(f"    {r}" for r in self.left_alone)])


def swap(
    model: nn.Module,
    example_inputs: torch.Tensor | Sequence[Any],
    *,
    precision: str = "fp32",
    backend: str = "auto",
    batch_invariant: bool = False,
    memory_limit: int = MEMORY_LIMIT,
) -> SwapReport:
    """Replaces every part of ``model`` that is an Inception-family network or block by its fast form, in place.

    The largest such parts are found from the top down; the model itself stays. A part qualifies if it takes one tensor
    ``[N, C, H, W]``, has convolutions and consists of the family's operators. It keeps its parameters and their names.
    Feed the model channels_last images where speed matters: the parts keep to the memory format of what they are given.

    Args:
        model: in eval mode.
        example_inputs: a tensor, or a sequence of the model's positional arguments (tensors may be inside of lists
            and dicts), to see what its parts are called with. The model is run on it twice.
        precision, backend, batch_invariant: as for :func:`inception_fast.optimize`.
        memory_limit: bytes that the engines of all parts may hold together, one for each part and each image size that
            it meets; those of one part share their weights. Beyond it a part's first size still has an engine, and new
            ones run on the original module.

    Returns:
        What was replaced, and what was not and why.

    Raises:
        InputError: an argument does not fit.
        BackendUnavailableError: the backend asked for cannot run here.
        InceptionFastError: the model does not run with the new parts. It is as it was before, as with any exception.
    """
    arguments = (example_inputs,) if isinstance(example_inputs, torch.Tensor) else tuple(example_inputs)
    _check(model, arguments)
    options = Options(precision, backend, batch_invariant, memory_limit)
    select_backend(backend, next(_tensors(arguments)).device, precision)

    plan = _Plan(_observe(model, arguments), options)
    plan.visit(model, "")
    plan.apply()
    try:
        with torch.no_grad():
            model(*arguments)
    except BaseException as error:
        plan.undo()
        if isinstance(error, InceptionFastError) or not isinstance(error, Exception):
            raise
        raise InceptionFastError(
            f"the model does not run with the parts replaced, and was restored: {error}"
        ) from error
    return SwapReport(tuple(plan.replaced), tuple(plan.left_alone))


def _check(model: nn.Module, arguments: tuple[Any, ...]) -> None:
    if not isinstance(model, nn.Module):
        raise InputTypeError("model", type(model).__name__, "a torch.nn.Module")
    script = foreign(model)
    if script:
        raise InputTypeError("model", *script)
    if model.training and not is_exported(model):
        raise InputError("model", "training mode", "eval mode")
    if next(_tensors(arguments), None) is None:
        raise InputError(
            "example_inputs", f"{len(arguments)} arguments without a tensor", "what the model is called with"
        )


def _tensors(arguments: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in pytree.tree_leaves(arguments) if isinstance(leaf, torch.Tensor))


@dataclass
class _Calls:
    """What a module was called with.

    Attributes:
        images: an example of each shape and dtype.
        other: what was not a single tensor of images, empty where nothing was.
    """

    images: dict[tuple[Any, ...], torch.Tensor] = field(default_factory=dict)
    other: str = ""


def _observe(model: nn.Module, arguments: tuple[Any, ...]) -> dict[nn.Module, _Calls]:
    """Runs the model, and returns what each module in it was called with."""
    seen: dict[nn.Module, _Calls] = {}

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls = seen.setdefault(module, _Calls())
        x = args[0] if args else None
        if len(args) != 1 or kwargs or not isinstance(x, torch.Tensor) or x.dim() != 4 or x.is_quantized:
            named = [f"{name}={_describe(value)}" for name, value in kwargs.items()]
            calls.other = calls.other or ", ".join([*map(_describe, args), *named]) or "nothing"
            return
        calls.images[(x.shape[1:], x.dtype, x.device)] = x.new_zeros(x.shape)

    handles = []
    try:
        for module in model.modules():
            if not isinstance(module, torch.jit.ScriptModule):
                handles.append(module.register_forward_pre_hook(note, with_kwargs=True))
        with torch.no_grad():
            model(*arguments)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _describe(value: Any) -> str:
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    return f"a {'quantised ' if value.is_quantized else ''}tensor {list(value.shape)}"


class _Plan:
    """Which modules are to be replaced by what. Nothing changes before :meth:`apply`."""

    def __init__(self, calls: dict[nn.Module, _Calls], options: Options) -> None:
        self._calls, self._options, self._budget = calls, options, Budget()
        self._blocks: dict[nn.Module, Block | None] = {}
        self._places: list[tuple[dict[str, nn.Module | None], str, Block]] = []
        self.replaced: list[Replaced] = []
        self.left_alone: list[LeftAlone] = []

    def visit(self, parent: nn.Module, path: str) -> None:
        """Decides on the children of ``parent``, and on theirs where they are not replaced."""
        for name, child in parent._modules.items():
            if child is None or isinstance(child, Block) or not _has_convolutions(child):
                continue
            where = f"{path}.{name}" if path else name
            if child not in self._blocks:
                self._blocks[child] = self._decide(child, where)
                if self._blocks[child] is None:
                    self.visit(child, where)
            block = self._blocks[child]
            if block is not None:
                self._places.append((parent._modules, name, block))

    def apply(self) -> None:
        for table, name, block in self._places:
            table[name] = block

    def undo(self) -> None:
        for table, name, block in self._places:
            table[name] = block.original

    def _decide(self, module: nn.Module, path: str) -> Block | None:
        reason = self._objection(module)
        if reason is None:
            engines = Engines(self._options, budget=self._budget)
            try:
                reports = tuple(self._build(module, engines))
            except (InputError, UnsupportedOpError, CaptureError) as error:
                reason = str(error)
            else:
                assert engines.facts is not None
                kind = engines.facts.kind
                self.replaced.append(Replaced(path, kind, reports))
                return _CLASSES.get(kind, InceptionBlock).wrap(module, self._options, engines)
        if reason:
            self.left_alone.append(LeftAlone(path, reason))
        return None

    def _build(self, module: nn.Module, engines: Engines) -> Iterator[Report]:
        for x in self._calls[module].images.values():
            engine = engines.get(x, lambda: contents_of(module), lambda: module)
            if engine is not None:
                yield engine.report()

    def _objection(self, module: nn.Module) -> str | None:
        """Why a module cannot be tried; empty where there is nothing to say."""
        calls, found = self._calls.get(module), foreign(module)
        if found:
            return f"{found[0]}, which cannot be captured"
        if calls is None:
            return "" if isinstance(module, nn.ModuleList | nn.ModuleDict) else "the example did not call it"
        if calls.other:
            return f"it was called with {calls.other}, not with one tensor [N, C, H, W] by position"
        if isinstance(module, nn.Conv2d):
            return "a convolution on its own, with nothing to fuse"
        hooked = [path for path, part in module.named_modules() if any(getattr(part, hooks) for hooks in _HOOKS)]
        if hooked:
            return f"hooks on {hooked[0] or 'it'} would be lost"
        return None


def _has_convolutions(module: nn.Module) -> bool:
    # Scripts may hide their parameters, and quantised layers have none.
    return any(p.dim() == 4 for p in module.parameters()) or any(map(foreign, module.modules()))
