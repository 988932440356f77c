"""Parts that have to be called as they are, since they have forward hooks or branch on values: the cuts between the
engines of a module.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree as pytree

from inception_fast.errors import CaptureError, InceptionFastError
from inception_fast.graph.hooks import is_hooked
from inception_fast.graph.structure import TENSOR, OutputStructure
from inception_fast.graph.twin import twin_of
from inception_fast.integrations import ops
from inception_fast.nn.forms import run_apart
from inception_fast.nn.original import Original, fake_run, laid_out_like, without_hooks


def cuts_in(module: nn.Module, opaque: Collection[nn.Module] = ()) -> dict[str, nn.Module]:
    """The outermost parts of a module that have hooks or are opaque, by path; one that is there twice has two."""
    found: dict[str, nn.Module] = {}
    pending = [("", module)]
    while pending:
        path, current = pending.pop()
        for name, child in current._modules.items():
            if child is None:
                continue
            if child in opaque or is_hooked(child):
                found[f"{path}{name}"] = child
            elif child._modules:
                pending.append((f"{path}{name}.", child))
    return found


def cut(module: nn.Module, opaque: Collection[nn.Module] = ()) -> nn.Module:
    """A copy to be captured, in which such parts are operators that call them as they are."""
    cuts = cuts_in(module, opaque)
    if not cuts:
        return module
    twin, operators = twin_of(module), {part: CutPoint(part) for part in cuts.values()}
    for path, part in cuts.items():
        parent, _, name = path.rpartition(".")
        twin.get_submodule(parent)._modules[name] = operators[part]
    return twin


class CutMismatchError(InceptionFastError):
    """A part has returned other shapes than those that engines were built for."""


class CutPoint(nn.Module):
    """Calls a part of one tensor as an operator of a trace.

    Attributes:
        key: names it to the operator ``inception_fast::run``.
        live: whether what comes are a user's calls. Before, while engines are built and measured, hooks see nothing.
    """

    part: nn.Module

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.training, self.key, self.live = False, uuid.uuid4().hex, False
        # Past nn.Module's registration: its weights are none of a trace's.
        vars(self)["part"] = part
        self._results = _Results(part)
        ops.register(self)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the part returns.

        Raises:
            CaptureError: it is called with anything but a tensor, or its results do not follow from their shapes.
        """
        if len(args) != 1 or kwargs or not isinstance(args[0], torch.Tensor):
            raise CaptureError(f"{type(self.part).__name__}, where a cut is, is called with more than a tensor")
        (x,) = args
        return self._results.of(x).structure.unflatten(ops.run_traced(self, x))

    def run_checked(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The output tensors, with memory of their own.

        Raises:
            CutMismatchError: they have other shapes than those that :meth:`fake_outputs` says.
        """
        part = self.part if self.live else without_hooks(Original(self.part))
        outputs = [t for t in pytree.tree_leaves(part(x)) if isinstance(t, torch.Tensor)]
        expected = self._results.of(x).tensors
        if len(outputs) != len(expected) or not all(map(_Result.fits, expected, outputs, [len(x)] * len(outputs))):
            got = ", ".join(str(list(t.shape)) for t in outputs)
            raise CutMismatchError(f"{type(self.part).__name__} has returned {got}, which engines were not built for")
        memory = x.untyped_storage().data_ptr()
        apart = (t.clone() if t.untyped_storage().data_ptr() == memory else t for t in outputs)
        return [laid_out_like(x, t) for t in apart]

    def fake_outputs(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Empty tensors with the shapes, strides and dtypes of :meth:`run_checked`'s."""
        return [laid_out_like(x, result.empty(x)) for result in self._results.of(x).tensors]


@dataclass(frozen=True)
class _Result:
    """A tensor that a part returns.

    Attributes:
        shape: None in the place of the batch.
    """

    shape: tuple[int | None, ...]
    dtype: torch.dtype

    def empty(self, x: torch.Tensor) -> torch.Tensor:
        shape = [x.shape[0] if s is None else s for s in self.shape]
        return torch.empty(shape, dtype=self.dtype, device=x.device)

    def fits(self, tensor: torch.Tensor, batch: int) -> bool:
        shape = tuple(batch if s is None else s for s in self.shape)
        return tuple(tensor.shape) == shape and tensor.dtype is self.dtype


@dataclass(frozen=True)
class _Returned:
    structure: OutputStructure
    tensors: tuple[_Result, ...]


class _Results:
    """What a part returns for tensors of some shape, by calls of it for two batch sizes: without values where it takes
    such, else with noise.
    """

    def __init__(self, part: nn.Module) -> None:
        self._part = part
        self._known: dict[object, _Returned] = {}

    def of(self, x: torch.Tensor) -> _Returned:
        key = (tuple(x.shape[1:]), x.dtype, x.device)
        if key not in self._known:
            self._known[key] = self._found(*key)
        return self._known[key]

    def _found(self, image: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> _Returned:
        def without_values(batch: int) -> Any:
            with FakeTensorMode():
                return fake_run(
                    Original(self._part), (torch.empty(batch, *image, dtype=dtype, device=device),), {}, device
                )

        def with_noise(batch: int) -> Any:
            drawn = torch.rand(
                batch, *image, generator=torch.Generator().manual_seed(batch), dtype=torch.float32, device="cpu"
            )
            x = drawn.to(device, dtype)
            with torch.no_grad():
                return without_hooks(Original(self._part))(x)

        for run in (without_values, with_noise):
            try:
                two, three = (run_apart(lambda: run(batch), device) for batch in (2, 3))  # noqa: B023
            except Exception as error:
                reason = str(error).partition("\n")[0]
                continue
            leaves = zip(*map(pytree.tree_leaves, (two, three)), strict=True)
            tensors = [_result(a, b) for a, b in leaves if isinstance(a, torch.Tensor)]
            sample = pytree.tree_map(lambda leaf: TENSOR if isinstance(leaf, torch.Tensor) else leaf, two)
            if None not in tensors:
                return _Returned(OutputStructure(sample), tuple(t for t in tensors if t is not None))
            reason = "the shapes of its results depend on values"
        raise CaptureError(f"{type(self._part).__name__}, where a cut is: {reason}")


def _result(two: torch.Tensor, three: torch.Tensor) -> _Result | None:
    """The result that is ``two`` for a batch of two, and ``three`` for one of three; None where there is no rule."""
    if two.dim() != three.dim():
        return None
    pairs = list(zip(two.shape, three.shape, strict=True))
    if not all(a == b or (a, b, i) == (2, 3, 0) for i, (a, b) in enumerate(pairs)):
        return None
    return _Result(tuple(None if a != b else a for a, b in pairs), two.dtype)
