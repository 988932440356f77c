"""``swap``: fast blocks in the place of slow ones, inside a model that is otherwise left as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from inception_fast.artefacts.choose import module_of
from inception_fast.backends import select_backend
from inception_fast.errors import CaptureError, InceptionFastError, InputError, InputTypeError, UnsupportedOpError
from inception_fast.graph.foreign import foreign, is_exported
from inception_fast.graph.hooks import is_hooked
from inception_fast.nn import ConvBNReLU, FactorizedConv, InceptionBlock
from inception_fast.nn.block import Block, trains
from inception_fast.nn.engines import Engines
from inception_fast.nn.entry import Entry, converted, is_convertible
from inception_fast.nn.forms import MEMORY_LIMIT, Budget, Options
from inception_fast.nn.in_place import InPlace
from inception_fast.nn.installed import Installed, is_in_place
from inception_fast.nn.observing import Calls, observe
from inception_fast.nn.original import laid_out_like
from inception_fast.nn.parts import Arguments
from inception_fast.nn.runs import Runs, find_runs
from inception_fast.partition.report import PartitionReport
from inception_fast.report import Report
from inception_fast.swap_report import LeftAlone, Replaced, SwapReport

_CLASSES: dict[str, type[Block]] = {"ConvBNReLU": ConvBNReLU, "FactorizedConv": FactorizedConv}
_CLOSE = 1e-2
"""Relative L2 distance of results in the same precision, far above rounding."""
_REFUSALS = (InputError, UnsupportedOpError, CaptureError)


def swap(
    model: nn.Module,
    example_inputs: torch.Tensor | Sequence[Any] | Mapping[str, Any],
    *,
    precision: str = "fp32",
    backend: str = "auto",
    batch_invariant: bool = False,
    memory_limit: int = MEMORY_LIMIT,
) -> SwapReport:
    """Gives ``model``, and where that cannot be its parts from the top down, a fast form, in place.

    A module with convolutions whose operators are the family's becomes an engine; of another one, whatever it is
    called with, the largest such regions do, with PyTorch's operators between them, as :func:`inception_fast.optimize`
    has it. What cannot be captured, since it branches on values or has hooks inside, is looked for such parts. The
    model stays what it is: its type, its parameters and their names, its attributes and its hooks; parts that are one
    engine become drop-in modules (:mod:`inception_fast.nn`), the model itself and all else get another ``forward``.
    Results have the memory format of the images that are given.

    Args:
        model: in eval mode; modules of ``torch.jit`` may be inside. One that is such itself is served as a whole, its
            engines and PyTorch's operators; ``torch.jit.save`` and copies have what it was, and numbers among its
            attributes count as they are when an engine is built.
        example_inputs: what the model is called with: a tensor, a sequence of its positional arguments, or a dict of
            its arguments by name; tensors may be inside of lists and dicts. The model is run on copies of it, up to
            three times, and its hooks with it.
        precision, backend, batch_invariant: as for :func:`inception_fast.optimize`; ``int8`` is refused.
        memory_limit: bytes that the engines of all parts may hold together, one for each part and each image size that
            it meets; those of one part share their weights. Beyond it a part's first size still has an engine, and new
            ones run on the original module.

    Returns:
        What was replaced, and what was not and why.

    Raises:
        InputError: an argument does not fit.
        CaptureError: the model is a script that has hooks; remove them before scripting.
        BackendUnavailableError: the backend asked for cannot run here.
        InceptionFastError: the model does not run with the new parts. It is as it was before, as with any exception.
    """
    call = _call(example_inputs)
    _check(model, call)
    options = Options(precision, backend, batch_invariant, memory_limit)
    select_backend(backend, call.device, precision)

    plan = _Plan(observe(model, call.copied()), options)
    plan.visit(model, "")
    plan.apply()
    try:
        with torch.no_grad():
            results = call.copied().given_to(model)
    except BaseException as error:
        plan.undo()
        if isinstance(error, InceptionFastError) or not isinstance(error, Exception):
            raise
        raise InceptionFastError(
            f"the model does not run with the parts replaced, and was restored: {error}"
        ) from error
    if len(plan.replaced) > 1 and not is_in_place(model):
        plan.convert_images(model, call, results)
    return SwapReport(tuple(plan.replaced), tuple(plan.left_alone), plan.undo)


def _call(example_inputs: Any) -> Arguments:
    if isinstance(example_inputs, Mapping):
        return Arguments((), dict(example_inputs))
    return Arguments((example_inputs,) if isinstance(example_inputs, torch.Tensor) else tuple(example_inputs), {})


def _check(model: nn.Module, call: Arguments) -> None:
    if not isinstance(model, nn.Module):
        raise InputTypeError("model", type(model).__name__, "a torch.nn.Module")
    if isinstance(model, torch.jit.ScriptModule):
        # Says what cannot be read, and what to do.
        module_of(model)
    elif found := foreign(model):
        raise InputTypeError("model", *found)
    # Scripts that are frozen have no mode.
    if getattr(model, "training", False) and not is_exported(model):
        raise InputError("model", "training mode", "eval mode")
    if not call.tensors:
        given = len(call.args) + len(call.kwargs)
        raise InputError("example_inputs", f"{given} arguments without a tensor", "what the model is called with")


class _Plan:
    """Which modules are to be replaced by what. Nothing changes before :meth:`apply`."""

    def __init__(self, calls: dict[nn.Module, Calls], options: Options) -> None:
        self._calls, self._options, self._budget = calls, options, Budget()
        self._blocks: dict[nn.Module, Block | None] = {}
        self._places: list[tuple[dict[str, nn.Module | None], str, nn.Module, Block]] = []
        self._forwards: list[Installed] = []
        self._undo: list[Callable[[], None]] = []
        self.replaced: list[Replaced] = []
        self.left_alone: list[LeftAlone] = []

    def visit(self, module: nn.Module, path: str, place: tuple[dict[str, nn.Module | None], str] | None = None) -> None:
        """Decides on a module, and on those in it where it is not replaced.

        Args:
            place: the table that has it, and its name there; None for the model itself.
        """
        if is_in_place(module) or isinstance(module, Block) or not _has_convolutions(module):
            return
        if module not in self._blocks:
            self._blocks[module] = self._decide(module, path, place is None)
        block = self._blocks[module]
        if block is not None and place is not None:
            self._places.append((*place, module, block))

    def apply(self) -> None:
        for table, name, module, block in self._places:
            self._undo.append(partial(_put_back, table, name, module, block))
            table[name] = block
        self._undo += [fast.install() for fast in self._forwards]

    def undo(self) -> None:
        while self._undo:
            self._undo.pop()()

    def convert_images(self, model: nn.Module, call: Arguments, results: Any) -> None:
        """Has the model change the layout of its images once, if it then does the same."""
        given = next(filter(is_convertible, call.tensors), None)
        maps = [t for t in pytree.tree_leaves(results) if isinstance(t, torch.Tensor)]
        # Where its results have another layout than its images, such as [N, H, W, C], the model sees to that itself.
        if given is None or any(laid_out_like(given, t).stride() != t.stride() for t in maps):
            return
        copy = call.copied()
        try:
            with torch.no_grad():
                again = Arguments(*converted((copy.args, copy.kwargs))).given_to(model)
        except RuntimeError:
            return
        if all(map(_close, pytree.tree_leaves(results), pytree.tree_leaves(again))):
            self._undo.append(Entry(model).install())

    def _decide(self, module: nn.Module, path: str, stays: bool) -> Block | None:
        """What is to take the place of a module; a fast ``forward`` where there is none."""
        reason = self._objection(module)
        parts: tuple[InPlace, Replaced] | None = None
        if reason is None:
            calls = self._calls[module]
            stays = stays or any(map(is_hooked, module.modules()))
            if not calls.other and not stays:
                try:
                    return self._block(module, path)
                except _REFUSALS as error:
                    reason = str(error)
            try:
                parts = self._in_place(module, path, whole=reason is None)
            except _REFUSALS as error:
                reason = reason or str(error)
        if parts is not None and all(map(_takes_any_batch, parts[1].reports)):
            self._take(*parts)
            return None
        if reason:
            self.left_alone.append(LeftAlone(path, reason))
        before = len(self.replaced)
        together = self._together(module, path)
        # What is in a script is called by it alone.
        children = {} if isinstance(module, torch.jit.ScriptModule) else module._modules
        for name, child in children.items():
            if name not in together and child is not None and (module in self._calls or self._was_called(child)):
                self.visit(child, f"{path}.{name}" if path else name, (module._modules, name))
        if parts is not None and len(self.replaced) == before:
            # All that there is to have, though for these shapes alone.
            self._take(*parts)
        return None

    def _together(self, module: nn.Module, path: str) -> set[str]:
        """The names of parts that become engines with their neighbours."""
        if type(module).forward is not nn.Sequential.forward or not isinstance(module, nn.Sequential):
            return set()
        runs = list(find_runs(module, self._calls, self._options, self._budget)) if module in self._calls else []
        for run in runs:
            first, last = (f"{path}.{name}" if path else name for name in (run.names[0], run.names[-1]))
            reports = tuple(form.report() for form in run.fast.forms)
            self.replaced.append(Replaced(f"{first} to {last}", run.fast.kind, reports))
        if runs:
            self._forwards.append(Runs(module, runs))
        return {name for run in runs for name in run.names}

    def _was_called(self, module: nn.Module) -> bool:
        """Whether anything in a module was; else there is one thing to say of all of it."""
        return any(part in self._calls for part in module.modules())

    def _take(self, fast: InPlace, what: Replaced) -> None:
        self._forwards.append(fast)
        self.replaced.append(what)
        for inner, part in fast.cuts.items():
            self.visit(part, f"{what.path}.{inner}" if what.path else inner)

    def _block(self, module: nn.Module, path: str) -> Block:
        original, engines = module_of(module), Engines(self._options, budget=self._budget)
        # A script becomes a module of Python's, another module stays itself.
        stays = original if isinstance(module, torch.jit.ScriptModule) else module
        block = InceptionBlock.wrap(stays, self._options, engines)
        reports = tuple(self._reports(block, module))
        assert engines.facts is not None
        kind = engines.facts.kind
        self.replaced.append(Replaced(path, kind, reports))
        return _CLASSES[kind].wrap(stays, self._options, engines) if kind in _CLASSES else block

    def _reports(self, block: Block, module: nn.Module) -> Iterator[Report]:
        for x in self._calls[module].images.values():
            engine = block.engine_for(x)
            if engine is not None:
                yield engine.report()

    def _in_place(self, module: nn.Module, path: str, whole: bool) -> tuple[InPlace, Replaced]:
        fast = InPlace(module, self._options, self._budget, whole)
        forms = [fast.prepare(call) for call in self._calls[module].all.values()]
        return fast, Replaced(path, fast.kind, tuple(form.report() for form in forms if form is not None))

    def _objection(self, module: nn.Module) -> str | None:
        """Why a module cannot be tried; empty where there is nothing to say."""
        calls, found = self._calls.get(module), foreign(module)
        if found and not isinstance(module, torch.jit.ScriptModule):
            return f"{found[0]}, which cannot be captured"
        if calls is None:
            return "" if isinstance(module, nn.ModuleList | nn.ModuleDict) else "the example did not call it"
        if isinstance(module, nn.Conv2d):
            return "a convolution on its own, with nothing to fuse"
        if any(isinstance(part, Block) or is_in_place(part) for part in module.modules()):
            return ""
        learning = next((path for path, part in module.named_modules() if trains(part)), None)
        if learning is not None and not is_exported(module):
            return f"training mode (module '{learning}')" if learning else "training mode"
        return None


def _put_back(table: dict[str, nn.Module | None], name: str, module: nn.Module, block: Block) -> None:
    # Not over what somebody else has put there since.
    if table.get(name) is block:
        table[name] = module


def _close(a: Any, b: Any) -> bool:
    if not isinstance(a, torch.Tensor):
        return True
    return a.shape == b.shape and bool((a - b).double().norm() <= _CLOSE * a.double().norm())


def _takes_any_batch(report: object) -> bool:
    return not isinstance(report, PartitionReport) or report.takes_any_batch


def _has_convolutions(module: nn.Module) -> bool:
    # Scripts may hide their parameters, and quantised layers have none.
    return any(p.dim() == 4 for p in module.parameters()) or any(map(foreign, module.modules()))
