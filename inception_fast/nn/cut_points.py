"""Parts with forward hooks, which have to be called as they are: the cuts between the engines of a module."""

from __future__ import annotations

import uuid
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree as pytree

from inception_fast.errors import CaptureError
from inception_fast.graph.hooks import is_hooked
from inception_fast.graph.structure import TENSOR, OutputStructure
from inception_fast.graph.twin import twin_of
from inception_fast.integrations import ops
from inception_fast.nn.forms import run_apart
from inception_fast.nn.original import Original, fake_run, laid_out_like, without_hooks


def cuts_in(module: nn.Module) -> dict[str, nn.Module]:
    """The outermost parts of a module that have hooks, by path; one that is there twice has two."""
    found: dict[str, nn.Module] = {}
    pending = [("", module)]
    while pending:
        path, current = pending.pop()
        for name, child in current._modules.items():
            if child is None:
                continue
            if is_hooked(child):
                found[f"{path}{name}"] = child
            elif child._modules:
                pending.append((f"{path}{name}.", child))
    return found


def cut(module: nn.Module) -> nn.Module:
    """A copy to be captured, in which the parts with hooks are operators that call them as they are."""
    cuts = cuts_in(module)
    if not cuts:
        return module
    twin, operators = twin_of(module), {part: CutPoint(part) for part in cuts.values()}
    for path, part in cuts.items():
        parent, _, name = path.rpartition(".")
        twin.get_submodule(parent)._modules[name] = operators[part]
    return twin


class CutPoint(nn.Module):
    """Calls a part of one tensor, with its hooks, as an operator of a trace.

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
        self._structures: dict[object, OutputStructure] = {}
        ops.register(self)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the part returns.

        Raises:
            CaptureError: it is called with anything but a tensor.
        """
        if len(args) != 1 or kwargs or not isinstance(args[0], torch.Tensor):
            raise CaptureError(f"a part with a hook, {type(self.part).__name__}, is called with more than a tensor")
        (x,) = args
        return self._structure(x).unflatten(ops.run_traced(self, x))

    def _structure(self, x: torch.Tensor) -> OutputStructure:
        shape = tuple(int(s) if isinstance(s, int) else 2 for s in x.shape)
        key = (shape[1:], x.dtype)
        if key not in self._structures:

            def run() -> Any:
                with FakeTensorMode():
                    return self._faked(torch.empty(shape, dtype=x.dtype, device=x.device))

            outputs = run_apart(run, x.device)
            sample = pytree.tree_map(lambda leaf: TENSOR if isinstance(leaf, torch.Tensor) else leaf, outputs)
            self._structures[key] = OutputStructure(sample)
        return self._structures[key]

    def run_checked(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The output tensors, with memory of their own."""
        part = self.part if self.live else without_hooks(Original(self.part))
        outputs = [t for t in pytree.tree_leaves(part(x)) if isinstance(t, torch.Tensor)]
        memory = x.untyped_storage().data_ptr()
        apart = (t.clone() if t.untyped_storage().data_ptr() == memory else t for t in outputs)
        return [laid_out_like(x, t) for t in apart]

    def fake_outputs(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Empty tensors with the shapes, strides and dtypes of :meth:`run_checked`'s."""
        leaves = pytree.tree_leaves(self._faked(x))
        return [laid_out_like(x, t) for t in leaves if isinstance(t, torch.Tensor)]

    def _faked(self, x: torch.Tensor) -> Any:
        """What the part returns for a tensor without values, which no hook is to see."""
        return fake_run(Original(self.part), (x,), {}, x.device)
