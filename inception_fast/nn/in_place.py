"""A fast forward pass in the place of a module's own, where the module itself has to stay."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree as pytree

from inception_fast.artefacts.choose import module_of
from inception_fast.autocast import CASTS, autocast_dtype
from inception_fast.errors import CaptureError, InceptionFastError, UnsupportedOpError
from inception_fast.gradients import refusing_leaves
from inception_fast.graph.foreign import is_exported
from inception_fast.graph.hooks import sees_every_module
from inception_fast.nn.block import Block, trains
from inception_fast.nn.constants import Constants
from inception_fast.nn.cut_points import CutMismatchError, cut, cuts_in
from inception_fast.nn.engines import Engines
from inception_fast.nn.forms import Budget, Options
from inception_fast.nn.glance import Glance
from inception_fast.nn.installed import Installed
from inception_fast.nn.original import Original, laid_out_like
from inception_fast.nn.parts import Arguments, Fast, Parts
from inception_fast.tensors import is_traced


class InPlace(Installed, Block):
    """What ``forward`` of a module becomes, so that the module, its type, its attributes and its hooks stay.

    It is served as a whole or in parts, with any arguments; those that nothing can be made of run on the original, with
    a warning. Parts with hooks are called as they are, with real values, between the engines. Graphs of PyTorch's
    compilers have the original's operators, where it is not served as a whole. Numbers, strings and containers of such
    that ``forward`` finds among the module's attributes are constants, and engines are built anew where they have
    changed.

    Args:
        module: whose ``forward`` it is to be; also a module of ``torch.jit``, whose numbers are constants for good.
        budget: shared with other parts of a model.
        whole: whether it may be served as a whole, if it is called with images alone.
    """

    def __init__(self, module: nn.Module, options: Options, budget: Budget, whole: bool = True) -> None:
        super().__init__(Original(module), options, Engines(options, budget=budget))
        # Past nn.Module's registration, which would repeat every name.
        vars(self)["module"] = module
        self._parts, self._constants = Parts(options, budget), Constants(module)
        self._whole = whole
        self._opaque: list[nn.Module] = []
        self._kinds: dict[object, list[torch.dtype | None]] = {}
        first = next(iter(self.__signature__.parameters.values()), None)
        self._first = first.name if first and first.kind is first.POSITIONAL_OR_KEYWORD else None

    @property
    def cuts(self) -> dict[str, nn.Module]:
        """Parts that are called as they are, by path."""
        return cuts_in(self.original, self._opaque)

    @property
    def memory(self) -> int:
        return self._engines.memory + self._parts.memory

    @property
    def kind(self) -> str:
        """As a report of ``swap`` has it."""
        facts = self._engines.facts
        return facts.kind if facts and not len(self._parts) else "Parts"

    @property
    def forms(self) -> list[Fast]:
        """Those that there are."""
        return [*self._engines.forms, *self._parts.forms]

    def prepare(self, call: Arguments) -> Fast | None:
        """The fast form for such a call, built now; None where there is no room for it.

        Raises:
            InceptionFastError: there is none.
        """
        x = self._images(call)
        if self._whole and x is not None and not self.cuts:
            try:
                return self.engine_for(x)
            except (UnsupportedOpError, CaptureError):
                if len(self._engines):
                    raise
                self._whole = False
        while True:
            try:
                return self._parts_for(call)
            except CaptureError as error:
                # One that branches on values is no part of an engine; those around it may be.
                part = self.original.get_submodule(error.module)
                if part is self.original or part in self._opaque:
                    raise
                self._opaque.append(part)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module returns, see :class:`Block`."""
        call = Arguments(args, kwargs)
        self.__dict__["training"] = self.trains
        if sees_every_module():
            return self.original(*args, **kwargs)
        x = self._images(call) if self._whole else None
        if x is not None and not is_traced():
            self._check(x)
            engine = self._at_a_glance(taken := self._taken(x))
            if engine is not None:
                return self._served(engine, x, taken)
        if x is not None and not self.cuts:
            try:
                return super().forward(x)
            except (UnsupportedOpError, CaptureError):
                # It is another than it was.
                pass
        if is_traced():
            return self.original(*args, **kwargs)
        self.check_inference()
        cast = self._cast(call)
        form = self._parts.at_a_glance(cast)
        if form is None and not self._objection():
            form = self._form(cast)
        if form is None:
            return self.original(*args, **kwargs)
        try:
            return self._through(form, call, cast)
        except CutMismatchError as error:
            self._warn(f"it runs on the original module: {error}")
            return self.original(*args, **kwargs)

    def _parts_for(self, call: Arguments) -> Fast | None:
        return self._parts.get(call, self._contents, lambda: cut(self._traceable(), self._opaque), self._glance)

    def _images(self, call: Arguments) -> torch.Tensor | None:
        """The one argument of a call, where it is a floating-point tensor ``[N, C, H, W]``."""
        if len(call.args) + len(call.kwargs) != 1:
            return None
        x = call.args[0] if call.args else call.kwargs.get(self._first or "")
        floating = isinstance(x, torch.Tensor) and x.is_floating_point() and x.dim() == 4
        return x if floating else None

    def _traceable(self) -> nn.Module:
        is_script = isinstance(self.module, torch.jit.ScriptModule)
        return module_of(self.module) if is_script else self.original  # type: ignore[no-any-return]

    def _refused(self, error: Exception) -> None:
        # Parts of it may be served.
        raise error

    def _objection_to(self, part: nn.Module) -> str | None:
        # Parts with hooks are cuts; the flags of exported programs mean nothing.
        return "is in training mode" if trains(part) and not is_exported(self.module) else None

    def _contents(self) -> list[object]:
        return [*super()._contents(), self._constants.values(), tuple(map(id, self.cuts.values()))]

    def _glance(self) -> Glance | None:
        # Of cuts, whose parts run as they are whatever their mode, it would see too much.
        if self._opaque:
            return None
        return Glance.of(self.original, self._objection_to, self._constants.values)

    def _form(self, call: Arguments) -> Fast | None:
        """The form for a call, None where the original is to run."""
        try:
            return self._parts_for(call)
        except InceptionFastError as error:
            self._warn(f"called with {call}, it runs on the original module: {error}")
            return None

    def _warn(self, what: str) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(f"{type(self.module).__name__} behind swap: {what}", stacklevel=6)

    def _through(self, form: Fast, call: Arguments, taken: Arguments) -> Any:
        """What a form returns, laid out like the arguments and, under autocast, in the types of the original."""
        weight, spec = self._wanting_gradient(), list[Any]()

        def run() -> list[Any]:
            with torch.no_grad():
                leaves, structure = pytree.tree_flatten(form(*taken.args, **taken.kwargs))
            spec.append(structure)
            return self._as_original(call, leaves)

        wanted = [t for t in (*call.tensors, weight) if t is not None and t.requires_grad]
        leaves = refusing_leaves(run, wanted) if wanted and torch.is_grad_enabled() else run()
        return pytree.tree_unflatten(leaves, spec[0])

    def _as_original(self, call: Arguments, leaves: list[Any]) -> list[Any]:
        if autocast_dtype(call.device):
            pairs = zip(leaves, self._under_autocast(call), strict=True)
            leaves = [leaf if dtype is None else leaf.to(dtype) for leaf, dtype in pairs]
        like = next((t for t in call.tensors if t.dim() == 4), None)
        return [laid_out_like(like, leaf) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]

    def _cast(self, call: Arguments) -> Arguments:
        """A call as forms take it: autocast may have given tensors another floating-point type than the weights'."""
        dtype = next((p.dtype for p in self.original.parameters()), None)
        if dtype not in CASTS or not autocast_dtype(call.device):
            return call

        def cast(value: Any) -> Any:
            return value.to(dtype) if isinstance(value, torch.Tensor) and value.dtype in CASTS else value

        return Arguments(*pytree.tree_map(cast, (call.args, call.kwargs)))

    def _under_autocast(self, call: Arguments) -> list[torch.dtype | None]:
        """The types of what the original returns under the autocast that is on; None for what is no tensor."""
        key = (call.key, autocast_dtype(call.device))
        if key not in self._kinds:

            def empty(value: Any) -> Any:
                is_tensor = isinstance(value, torch.Tensor)
                return torch.empty(value.shape, dtype=value.dtype, device=value.device) if is_tensor else value

            with FakeTensorMode():
                args, kwargs = pytree.tree_map(empty, (call.args, call.kwargs))
                fakes = self._fakes(args, kwargs)
            self._kinds[key] = [t.dtype if isinstance(t, torch.Tensor) else None for t in fakes]
        return self._kinds[key]
