"""What the drop-in modules share."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, TypeVar

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves

from inception_fast.autocast import CASTS, autocast_dtype
from inception_fast.errors import CaptureError, InputError, InputTypeError, UnsupportedOpError
from inception_fast.fast_model import FastModel
from inception_fast.gradients import refusing
from inception_fast.graph.hooks import is_hooked, sees_every_module
from inception_fast.graph.structure import TENSOR, OutputStructure
from inception_fast.integrations import ops
from inception_fast.nn.constants import reads_mode
from inception_fast.nn.engines import Engines
from inception_fast.nn.forms import Options
from inception_fast.nn.glance import Glance
from inception_fast.nn.kinds import Kind
from inception_fast.nn.original import fake_run, laid_out_like, run_original, share_tables
from inception_fast.scripting import Unscriptable
from inception_fast.tensors import is_traced

Self = TypeVar("Self", bound="Block")


class Block(Unscriptable, nn.Module):
    """A module of the user's on fast kernels, for inference only.

    It has the parameters, buffers and submodules of the module that it was made from, under the same names, and shares
    them with it: a ``state_dict`` of the one loads into the other. Any batch, height and width will do; the first image
    of each size takes the time to build an engine for it, and so does the first one after the weights have changed
    (other than through ``tensor.data``, or those of inference mode, which leaves no trace), or numbers that parts
    compute with; other sizes go on meanwhile in other threads. Engines share their weights, so a further size takes
    little memory, for which there is a limit all the same: new sizes beyond it run on the original module, with a
    warning. So does all while a part has a forward hook or is in training mode, as for dropout at inference; and an
    empty batch, without one.

    Args:
        original: what to compute.
        options: precision, backend and batch invariance, as for :func:`inception_fast.optimize`, and the bytes that
            engines may hold.
        engines: those built already for ``original``.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ()
    """What a module may be to become one of these; empty means anything."""

    def __init__(self, original: nn.Module, options: Options, engines: Engines | None = None) -> None:
        super().__init__()
        if not isinstance(original, nn.Module) or isinstance(original, torch.jit.ScriptModule):
            raise InputTypeError("module", type(original).__name__, "a torch.nn.Module")
        self.training = original.training
        share_tables(self, original)
        # Past nn.Module's registration, which would repeat every name.
        self.__dict__["original"] = original
        self._engines = Engines(options, self.kinds) if engines is None else engines
        self._dtypes: dict[tuple[torch.dtype | None, ...], list[torch.dtype]] = {}
        self._has_served = self._warned = False
        self._announce()

    @classmethod
    def wrap(cls: type[Self], original: nn.Module, options: Options, engines: Engines | None = None) -> Self:
        """A block of this class around ``original``."""
        block = cls.__new__(cls)
        Block.__init__(block, original, options, engines)
        return block

    @property
    def precision(self) -> str:
        return self._engines.options.precision

    def forward(self, x: torch.Tensor) -> Any:
        """What the original module returns for ``x``.

        Args:
            x: ``[N, C, H, W]``, any strides, in the dtype and on the device of the weights.

        Returns:
            The original's outputs, in the dtype of ``x``; images are channels_last where ``x`` is, as PyTorch's
            convolutions have it. Under ``torch.autocast`` the dtypes are the original's there; what is computed has
            the precision asked for.

        Raises:
            InputError: names what does not fit; at the backward pass where ``x`` or a parameter wants a gradient.
            InceptionFastError: as :func:`inception_fast.optimize`, for the first image; what cannot be served later
                runs on the original module, with a warning.
        """
        if is_traced():
            facts = self._engines.facts
            structure = facts.structure if facts else OutputStructure(TENSOR)
            return structure.unflatten(ops.run_traced(self, x, self._wanting_gradient(), autocast_dtype(x.device)))
        self._check(x)
        taken = self._taken(x)
        engine = self._at_a_glance(taken) or self.engine_for(taken)
        return self._run_original(x) if engine is None else self._served(engine, x, taken)

    def _served(self, engine: FastModel, x: torch.Tensor, taken: torch.Tensor) -> Any:
        """What the module returns for ``x``, by an engine that takes ``taken``."""
        wanted = []
        if torch.is_grad_enabled():
            weight = self._wanting_gradient()
            wanted = [t for t in (x, weight) if t is not None and t.requires_grad]
        run = partial(self._run, engine, x, taken)
        return engine.structured(refusing(run, wanted) if wanted else run())

    def _at_a_glance(self, x: torch.Tensor) -> FastModel | None:
        """:meth:`engine_for` where nothing has changed since it was asked, as a short look tells; None says nothing."""
        return None if x.shape[0] == 0 or sees_every_module() else self._engines.at_a_glance(x)

    @property
    def memory(self) -> int:
        """Bytes that its engines hold; see ``memory_limit``."""
        return self._engines.memory

    def engine_for(self, x: torch.Tensor) -> FastModel | None:
        """The engine that images like those of ``x`` run on, built where there is none; None where there is no room
        within ``memory_limit`` and the original module computes them.
        """
        if len(x) == 0 or self._objection() is not None:
            return None
        try:
            engine = self._engines.get(x, self._contents, self._traceable, self._glance)
        except (UnsupportedOpError, CaptureError) as error:
            self._refused(error)
            return None
        self._has_served = True
        return engine

    def _traceable(self) -> nn.Module:
        """What is captured."""
        return self.original

    def _refused(self, error: Exception) -> None:
        """What was served once goes on with the original."""
        if not self._has_served:
            raise error
        self._warn(f"it runs on the original module: {error}")

    def _contents(self) -> list[object]:
        """What engines are built from."""
        return [self.original, *contents_of(self)]

    def _glance(self) -> Glance | None:
        """At what engines are built from, and what there is no objection to."""
        return Glance.of(self.original, self._objection_to)

    def _objection(self) -> str | None:
        """Why an engine would not compute what the module does now, which then runs as it is; said once."""
        if sees_every_module():
            return "there are hooks on all modules of the process"
        for part in parts_of(self):
            own = vars(part)
            # Asked at every call; a script's mode is not among its own attributes.
            suspect = own.get("training", True) or own.get("_forward_hooks") or own.get("_forward_pre_hooks")
            if suspect and (reason := self._objection_to(part)):
                self._warn(f"it runs on the original module: {type(part).__name__} in it {reason}")
                return reason
        return None

    def _objection_to(self, part: nn.Module) -> str | None:
        if trains(part):
            return "is in training mode"
        hooked = (part._forward_hooks or part._forward_pre_hooks) and is_hooked(part)
        return "has a forward hook" if hooked else None

    def _warn(self, what: str) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(f"{type(self.original).__name__} behind {type(self).__name__}: {what}", stacklevel=6)

    def examine(self) -> None:
        """Raises where the original is not what this class is for, now rather than at its first image.

        Raises:
            InputError: it is not.
            InceptionFastError: as :func:`inception_fast.optimize`.
        """
        convolutions = [m for m in self.original.modules() if isinstance(m, nn.Conv2d)]
        if not convolutions:
            raise InputError("module", f"{type(self.original).__name__} without a convolution", type(self).__name__)
        # Room for every window, one behind the other.
        size = 8 + sum(d * (k - 1) for c in convolutions for d, k in zip(c.dilation, c.kernel_size, strict=True))
        weight = convolutions[0].weight
        self._engines.examine(self.original, weight.new_zeros(1, convolutions[0].in_channels, size, size))

    def run_checked(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The output tensors, never traced."""
        self._check(x)
        engine = self.engine_for(self._taken(x))
        if engine is None:
            with torch.no_grad():
                outputs = tree_leaves(self._run_original(x))
            return [laid_out_like(self._images_in(x), t) for t in outputs if isinstance(t, torch.Tensor)]
        return self._run(engine, x, self._taken(x))

    def fake_outputs(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Empty tensors with the shapes, strides and dtypes of :meth:`run_checked`'s."""
        self._check(x)
        like = self._images_in(x)
        return [laid_out_like(like, t) for t in self._fakes((x,), {}) if isinstance(t, torch.Tensor)]

    def _fakes(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """What the original returns for arguments without values, flat; tensors are contiguous."""
        device = next(t.device for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor))
        return tree_leaves(fake_run(self._traceable(), args, kwargs, device))

    def _run_original(self, x: torch.Tensor) -> Any:
        return run_original(self.original, x, self._engines.options.batch_invariant)

    def _run(self, engine: FastModel, x: torch.Tensor, taken: torch.Tensor) -> list[torch.Tensor]:
        results = engine.run_checked(taken)
        if autocast_dtype(x.device):
            results = [t.to(dtype) for t, dtype in zip(results, self._autocast_dtypes(x), strict=True)]
        like = self._images_in(x)
        return [laid_out_like(like, t) for t in results]

    def _images_in(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` as ``[N, C, H, W]``, which the original makes of it."""
        facts = self._engines.facts
        return x if facts is None or facts.layout is None else x.permute(0, 3, 1, 2)

    def _taken(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` as the engine takes it: autocast may have given it another floating-point type than the weights'."""
        if not autocast_dtype(x.device) or x.dtype not in CASTS:
            return x
        return x.to(next((p.dtype for p in self.original.parameters()), x.dtype))

    def _autocast_dtypes(self, x: torch.Tensor) -> list[torch.dtype]:
        """What the original returns for ``x`` under the autocast that is on."""
        weight = next((p.dtype for p in self.original.parameters()), None)
        key = (x.dtype, weight, autocast_dtype(x.device))
        if key not in self._dtypes:
            with FakeTensorMode():
                outputs = self.fake_outputs(torch.empty(2, *x.shape[1:], dtype=x.dtype, device=x.device))
            self._dtypes[key] = [t.dtype for t in outputs]
        return self._dtypes[key]

    def _wanting_gradient(self) -> torch.Tensor | None:
        """A parameter that wants a gradient, where one could be had; a script may be run with gradients later."""
        if not torch.is_grad_enabled() and not torch.jit.is_tracing():
            return None
        return next((p for p in self.original.parameters() if p.requires_grad), None)

    def _check(self, x: torch.Tensor) -> None:
        if not isinstance(x, torch.Tensor):
            raise InputTypeError("x", type(x).__name__, "a torch.Tensor")
        if x.dim() != 4:
            raise InputError("x", f"rank {x.dim()} (shape {list(x.shape)})", "rank 4, [N, C, H, W]")
        if self.training:
            raise InputError("training", True, f"False: {type(self).__name__} is for inference; call .eval()")

    def train(self: Self, mode: bool = True) -> Self:
        """As ``nn.Module.train``, for the original too."""
        self.original.train(mode)
        return super().train(mode)

    def _announce(self) -> None:
        # A copy computes with weights of its own, so it gets a name of its own.
        self.key = uuid.uuid4().hex
        ops.register(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._announce()

    def __getattr__(self, name: str) -> Any:
        # What a model asks of its parts besides a forward pass, such as their number of channels.
        try:
            return super().__getattr__(name)
        except AttributeError:
            if "original" not in self.__dict__:
                raise
            return getattr(self.__dict__["original"], name)

    def extra_repr(self) -> str:
        options = self._engines.options
        return f"precision={options.precision}, backend={options.backend}"


def contents_of(module: nn.Module) -> list[object]:
    """Parameters and buffers of a module and all in it, and the modules in it, by a shorter way than ``parameters()``:
    it is walked at every call.
    """
    parts = parts_of(module)
    found: list[object] = [*parts]
    for part in (module, *parts):
        for table in (part._parameters, part._buffers):
            found += [t for t in table.values() if t is not None]
    return found


def trains(part: nn.Module) -> bool:
    """Whether a part computes as in training; what is new often has the mode, and no use for it."""
    # Scripts that are frozen have no mode.
    return getattr(part, "training", False) and reads_mode(type(part))  # type: ignore[arg-type]


def parts_of(module: nn.Module) -> list[nn.Module]:
    """The modules in a module, in a fixed order; one that is there twice, twice."""
    found: list[nn.Module] = []
    pending = [module]
    while pending:
        parts = [m for m in pending.pop()._modules.values() if m is not None]
        found += parts
        pending += parts
    return found
