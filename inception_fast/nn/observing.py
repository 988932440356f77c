"""What the modules of a model are called with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as global_hooks
from torch.utils import _pytree as pytree

from inception_fast.nn.block import Block
from inception_fast.nn.installed import is_in_place
from inception_fast.nn.parts import Arguments


@dataclass
class Calls:
    """What one module was called with.

    Attributes:
        images: an example of each shape and dtype, where it was a tensor ``[N, C, H, W]`` by position.
        all: an example of each kind of call.
    """

    images: dict[object, torch.Tensor] = field(default_factory=dict)
    all: dict[object, Arguments] = field(default_factory=dict)

    @property
    def other(self) -> Arguments | None:
        """The first call with anything but one tensor of images."""
        return next((c for c in self.all.values() if _images(c) is None), None)

    def note(self, call: Arguments) -> None:
        if call.key not in self.all:
            known = self.all[call.key] = _without_values(call)
            images = _images(known)
            if images is not None:
                self.images[call.key] = images


def observe(model: nn.Module, call: Arguments) -> dict[nn.Module, Calls]:
    """Runs the model, and returns what each module in it was called with."""
    seen: dict[nn.Module, Calls] = {}

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.setdefault(module, Calls()).note(Arguments(args, kwargs))

    modules = list(_slow_ones(model))
    # A script takes no hooks of its own, and tells no keywords.
    scripts = {m for m in modules if isinstance(m, torch.jit.ScriptModule)} - {model}
    if isinstance(model, torch.jit.ScriptModule):
        modules.remove(model)
        note(model, tuple(call.args), dict(call.kwargs))
    every = global_hooks.register_module_forward_pre_hook
    handles = [every(lambda module, args: note(module, args, {}) if module in scripts else None)] if scripts else []
    try:
        for module in modules:
            if module not in scripts:
                handles.append(module.register_forward_pre_hook(note, with_kwargs=True))
        with torch.no_grad():
            model(*call.args, **call.kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _slow_ones(model: nn.Module) -> Iterator[nn.Module]:
    """The modules of a model, without those in what is fast already."""
    seen, pending = {model}, [model]
    while pending:
        module = pending.pop()
        yield module
        if not isinstance(module, Block) and not is_in_place(module):
            children = [m for m in module.children() if m not in seen]
            seen.update(children)
            pending += children


def _images(call: Arguments) -> torch.Tensor | None:
    if len(call.args) != 1 or call.kwargs or not isinstance(x := call.args[0], torch.Tensor):
        return None
    return x if x.dim() == 4 and not x.is_quantized else None


def _without_values(call: Arguments) -> Arguments:
    """The same with zeros for images, which may be large, and copies of other tensors: the model may write to them."""

    def plain(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        large = value.dim() >= 3 and value.layout is torch.strided and not value.is_quantized
        return value.new_zeros(value.shape) if large else value.detach().clone()

    return Arguments(*pytree.tree_map(plain, (call.args, call.kwargs)))
