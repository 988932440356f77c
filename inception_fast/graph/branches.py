"""Whether a model computes the same for one image and for several, traced and not.

A trace takes one branch of every ``if``: that of two images or more, while ``torch.compiler.is_compiling()`` holds. So
the model is run twice more on tensors without values, once as the trace saw it and once as a caller with a single image
does, and both must call the same operators with the same arguments. Where only tracing makes a difference, both ways
are computed: libraries write one and the same thing in operators that exporters take and in others.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import hashlib
import os
import re
import sys
import threading
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from inception_fast.errors import CaptureError
from inception_fast.graph.fakes import shaped
from inception_fast.graph.twin import twin_of
from inception_fast.tensors import bytes_of

_SEVERAL = 1009
"""A batch that is prime, and no number of a network's own: what divides by it is a multiple of the batch."""
_NOT_THE_USERS = (os.path.dirname(torch.__file__) + os.sep, __file__, contextlib.__file__)
_SMALL = 64
_ROUNDING = 1e-5
"""Relative L2 distance of two ways to compute the same."""
_SCALES = (1.0, 1e2, 1e4)
"""Of noise that shows two ways to be one: a limit to what is computed shows at some of them."""
HELD = "held"
"""Stands, with its id, for a tensor that the model has, too large to be written down; or for one that has no values."""


@dataclass(frozen=True)
class Call:
    """One operator called.

    Attributes:
        what: the operator and its arguments; tensors stand for themselves by where they come from.
        module: path of the module that called it.
        line: ``file:line`` outside PyTorch.
    """

    what: tuple[Any, ...]
    module: str
    line: str


def check_branches(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], batched: Collection[int], lock: threading.Lock
) -> list[Call] | None:
    """Refuses a model whose computation is not that of its trace for every caller.

    Args:
        args, kwargs: what the model is called with; of tensors only shapes, dtypes and devices matter, but for the
            values that decide whether two ways to compute are one.
        batched: which of the tensors, in order, have the batch as their first dimension, whose size is left open; where
            there are none, only tracing is looked at.
        lock: held meanwhile: the process may seem to be compiling, and must not export.

    Returns:
        What the model calls for one image; None where it calls other operators while it is traced.

    Raises:
        CaptureError: the model computes otherwise for one image, or otherwise where it is not traced, or fails there,
            or it keeps a tensor that it computed in a place outside itself.
    """
    with lock, _without_fast_paths():
        runs = _Runs(model, args, kwargs, batched)
        eager, traced = runs.calls(1), runs.calls(_SEVERAL, traced=True)
        if _first_difference(eager, traced) is None:
            return eager
        several = runs.calls(_SEVERAL)
        alike = _first_difference(several, traced) is None or _same_values(model, args, kwargs, runs.otherwise)
    found = _first_difference(eager, several)
    if found is not None:
        _refuse(found, "for one image than for several", "make its computation the same for every batch size")
    found = None if alike else _first_difference(several, traced)
    if found is not None:
        asks = "torch.compiler.is_compiling(), is_exporting() or torch.jit.is_tracing()"
        _refuse(found, f"while it is traced than otherwise (it asks {asks})", "make both branches compute the same")
    return None


def calls_of(model: nn.Module, example: Tensor, lock: threading.Lock) -> list[Call] | None:
    """What a model of one tensor calls for images like those of ``example``; None where one image or several, traced or
    not, make a difference.

    Raises:
        CaptureError: the model fails, or keeps a tensor that it computed in a place outside itself.
    """
    with lock, _without_fast_paths():
        runs = _Runs(model, (example,), {}, {0})
        eager, traced = runs.calls(1), runs.calls(_SEVERAL, traced=True)
    return eager if _first_difference(eager, traced) is None else None


class _Runs:
    """Runs of one model on tensors without values; arguments as for :func:`check_branches`."""

    def __init__(
        self, model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], batched: Collection[int]
    ) -> None:
        # A fast module inside the model is one operator only while a trace seems to be under way.
        fast_inside = any(hasattr(m, "fake_outputs") for m in model.modules())
        self.otherwise: Callable[[], AbstractContextManager[None]] = _tracing if fast_inside else contextlib.nullcontext
        self._model, self._batched = model, batched
        # Sizes that follow from values have names.
        self._mode = mode = FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv(), static_shapes=True)
        leaves, self._spec = pytree.tree_flatten((tuple(args), dict(kwargs)))
        self._examples = [mode.from_tensor(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        # Made once: an operator of fakes alone is looked up where it was seen before.
        self._fakes = {id(t): mode.from_tensor(t) for t in (*model.parameters(), *model.buffers()) if not t.is_meta}

    def calls(self, batch: int, traced: bool = False) -> list[Call]:
        """The operators that the model calls for so many images."""
        arguments, tensors = [], 0
        for leaf in self._examples:
            if isinstance(leaf, Tensor):
                extents = (batch, *leaf.shape[1:]) if tensors in self._batched else leaf.shape
                leaf, tensors = leaf.new_empty(extents), tensors + 1
            arguments.append(leaf)
        with _tracing() if traced else self.otherwise():
            return _calls(self._model, self._mode, self._fakes, *pytree.tree_unflatten(arguments, self._spec))


def _same_values(
    model: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    otherwise: Callable[[], AbstractContextManager[None]],
) -> bool:
    """Whether a model computes the same while it seems to be traced, to rounding: of noise, and of what is given."""
    generator = torch.Generator().manual_seed(0)

    def noise(leaf: Any, scale: float) -> Any:
        drawn = isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.dim()
        return (
            (scale * torch.randn(leaf.shape, generator=generator, dtype=torch.float32, device="cpu")).to(leaf)
            if drawn
            else leaf
        )

    given = (tuple(args), dict(kwargs))
    drawn = (pytree.tree_map(partial(noise, scale=scale), given) for scale in _SCALES)
    try:
        for positional, named in (*drawn, given):
            results = []
            for context in (otherwise, _tracing):
                # A real run may change what the model holds, or its arguments.
                twin, (a, k) = copy.deepcopy((model, (positional, named)))
                with torch.inference_mode(), context():
                    results.append(pytree.tree_flatten(twin(*a, **k)))
            (eager, shape), (traced, other) = results
            if shape != other or not all(map(_close, eager, traced)):
                return False
    except Exception:
        return False
    return True


def _close(a: Any, b: Any) -> bool:
    if not isinstance(a, Tensor):
        return bool(a == b)
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return False
    if not a.is_floating_point():
        return torch.equal(a, b)
    a, b, eps = a.double(), b.double(), torch.finfo(a.dtype).eps
    return bool((a - b).norm() <= max(_ROUNDING, 16 * eps) * a.norm())


def _refuse(calls: tuple[Call | None, Call | None], when: str, remedy: str) -> None:
    first = next(call for call in calls if call is not None)
    where = f"module '{first.module}'" if first.module else "the model"
    lines = " against ".join(dict.fromkeys((call.line or "PyTorch") if call else "nothing" for call in calls))
    raise CaptureError(f"{where} computes otherwise {when}, at {lines}; {remedy}")


def _first_difference(one: Sequence[Call], other: Sequence[Call]) -> tuple[Call | None, Call | None] | None:
    for a, b in zip(one, other, strict=False):
        if not _alike(a.what, b.what):
            return a, b
    if len(one) == len(other):
        return None
    longer, at = (one, len(other)) if len(one) > len(other) else (other, len(one))
    return (longer[at], None) if longer is one else (None, longer[at])


def _alike(a: Any, b: Any) -> bool:
    """Equal, where a number of the one may be a multiple of the batch in the other."""
    if type(a) is not type(b):
        return False
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(_alike, a, b))
    if isinstance(a, float) and a != a:
        return b != b
    return a == b or (type(a) is int and max(a, b, key=abs) == _SEVERAL * min(a, b, key=abs))


def _calls(
    model: nn.Module, mode: FakeTensorMode, fakes: Mapping[int, Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[Call]:
    """The operators that ``model`` calls for arguments of ``mode``, of which nothing is computed.

    Args:
        fakes: by the id of a tensor of the model, its shape in ``mode``.
    """
    twin = twin_of(model)
    recorder = _Recorder(twin, fakes)
    inputs = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    for tensor in inputs:
        recorder.number(tensor)
    kind = inputs[0].device.type if inputs else "cpu"
    try:
        with torch.inference_mode(), torch.autocast(kind, enabled=False), mode, recorder:
            recorder.finish(twin(*args, **kwargs))
    except Exception as error:
        what = f"a batch of {len(inputs[0]) if inputs else 0}, its branches being compared"
        raise CaptureError(f"the model fails for {what}: {str(error).partition(chr(10))[0]}") from error
    del twin
    kept = recorder.alive() and gc.collect() is not None and recorder.alive()
    if kept:
        raise CaptureError(
            f"the model keeps a tensor that it computed at {kept[0].line or 'a line of PyTorch'} in a place outside "
            "itself, where a fast module would not put it; return it from the model"
        )
    return recorder.calls


@contextlib.contextmanager
def _tracing() -> Iterator[None]:
    """Every question whether a trace is under way is answered yes, in this thread."""
    owner, is_tracing = threading.get_ident(), torch._C._is_tracing
    with contextlib.ExitStack() as stack:
        for flag in ("_is_compiling_flag", "_is_exporting_flag"):
            stack.enter_context(mock.patch.object(torch.compiler, flag, True))
        stack.enter_context(
            mock.patch.object(torch._C, "_is_tracing", lambda: threading.get_ident() == owner or is_tracing())
        )
        yield


@contextlib.contextmanager
def _without_fast_paths() -> Iterator[None]:
    """PyTorch's own attention layers take another way where they are not traced, to the same result; not so in this
    thread.
    """
    owner, enabled = threading.get_ident(), torch.backends.mha.get_fastpath_enabled

    def get_fastpath_enabled() -> bool:
        return threading.get_ident() != owner and enabled()

    with mock.patch.object(torch.backends.mha, "get_fastpath_enabled", get_fastpath_enabled):
        yield


class _Recorder(TorchDispatchMode):
    """Writes down every operator that reaches it."""

    def __init__(self, model: nn.Module, fakes: Mapping[int, Tensor]) -> None:
        super().__init__()
        self._fakes = fakes
        self.calls: list[Call] = []
        self._paths = {id(module): path for path, module in model.named_modules()}
        self._numbers: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        self._count = 0
        self._results: list[tuple[weakref.ref[Tensor], Call]] = []
        self._symbols: dict[str, str] = {}

    def number(self, tensor: Tensor) -> None:
        """Gives a computed tensor a name that is the same in another run of the same operators."""
        self._numbers[id(tensor)] = (weakref.ref(tensor), self._count)
        self._count += 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        module, line = self._caller()
        given = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        what = tuple(self._described(leaf) for leaf in pytree.tree_leaves((args, kwargs)))
        if not given or any(isinstance(t, FakeTensor) for t in given):
            known_args, known_kwargs = pytree.tree_map(lambda a: self._fakes.get(id(a), a), (args, kwargs))
            result = shaped(func, known_args, known_kwargs)
        elif func._schema.is_mutable and any(self._number(t) is None for t in given):
            # The model's own tensors stay as they are; a capture refuses to change them.
            result = args[0]
        else:
            # What depends on parameters alone has values, which the model may ask for.
            with unset_fake_temporarily():
                result = func(*args, **kwargs)
        call = Call((str(func), *what), module, line)
        self.calls.append(call)
        for leaf in pytree.tree_leaves(result):
            if isinstance(leaf, Tensor) and self._number(leaf) is None:
                self.number(leaf)
                if isinstance(leaf, FakeTensor):
                    self._results.append((weakref.ref(leaf), call))
        return result

    def finish(self, returned: Any) -> None:
        """Writes down what the model returns, as if it were one operator more."""
        leaves, spec = pytree.tree_flatten(returned)
        self.calls.append(Call((f"return {spec}", *map(self._described, leaves)), "", "its return"))

    def alive(self) -> list[Call]:
        """The calls whose results somebody still holds."""
        return [call for result, call in self._results if result() is not None]

    def _described(self, leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf if isinstance(leaf, bool | int | float | str | None) else self._renamed(leaf)
        number = self._number(leaf)
        if number is not None and isinstance(leaf, FakeTensor):
            return ("computed", number, *map(self._described, leaf.shape))
        value = leaf.constant if isinstance(leaf, FakeTensor) else leaf
        if value is not None and value.device.type == "cpu" and value.layout is torch.strided:
            with unset_fake_temporarily():
                if value.numel() <= _SMALL:
                    return ("constant", str(value.dtype), *value.shape, *map(repr, value.detach().flatten().tolist()))
                if number is None and id(leaf) not in self._fakes:
                    # Perhaps made in this run: another may have its id in the next.
                    contents = hashlib.sha256(bytes_of(value.detach())).hexdigest()
                    return ("constant", str(value.dtype), *value.shape, contents)
        return (HELD, id(leaf)) if number is None else ("constant", number)

    def _renamed(self, leaf: Any) -> str:
        """Sizes that follow from values, by the order in which they came."""
        return re.sub(r"\b[uz]u?f?\d+", lambda m: self._symbols.setdefault(m[0], f"u{len(self._symbols)}"), str(leaf))

    def _number(self, tensor: Tensor) -> int | None:
        reference, number = self._numbers.get(id(tensor), (None, None))
        return number if reference is not None and reference() is tensor else None

    def _caller(self) -> tuple[str, str]:
        """The innermost module of the model, and the innermost line outside PyTorch and this package's capture."""
        module, line = None, ""
        frame = sys._getframe(2)
        while frame is not None and (module is None or not line):
            code = frame.f_code
            if not line and not code.co_filename.startswith(_NOT_THE_USERS):
                line = f"{code.co_filename}:{frame.f_lineno}"
            if module is None:
                module = self._paths.get(id(frame.f_locals.get("self")))
            frame = frame.f_back  # type: ignore[assignment]
        return module or "", line
