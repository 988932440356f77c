"""A swapped model as it was before, to be captured."""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import nn

from inception_fast.graph.twin import twin_of
from inception_fast.nn.block import Block
from inception_fast.nn.installed import Installed, is_in_place


def seen_through(model: Any) -> Any:
    """A copy with the same tensors in which drop-in modules are their originals again, and so is each ``forward``;
    hooks stay. Anything without such, itself.
    """
    if not isinstance(model, nn.Module) or not any(isinstance(m, Block) or is_in_place(m) for m in model.modules()):
        return model
    return _bare(twin_of(model), {})


def _bare(module: nn.Module, known: dict[nn.Module, nn.Module]) -> nn.Module:
    if module in known or isinstance(module, torch.jit.ScriptModule):
        return known.get(module, module)
    found = module
    while isinstance(found, Block):
        original = found.original
        for table in ("_forward_hooks", "_forward_pre_hooks"):
            getattr(original, table).update(getattr(found, table))
        found = original
    known[module] = found
    forward = vars(found).get("forward")
    if isinstance(forward, Installed):
        before = forward.original.forward
        vars(found)["forward"] = before
        if isinstance(before, MethodType) and before.__func__ is type(found).forward:
            del vars(found)["forward"]
    children = found._modules
    children.update({name: _bare(child, known) for name, child in children.items() if child is not None})
    return found
