"""Forward hooks that a Graph would lose, and PyTorch's own, which it may."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.module_tracker import ModuleTracker

from inception_fast.errors import CaptureError
from inception_fast.graph.hooks import check_hooks, is_hooked, sees_every_module


def looks(*_: Any) -> None:
    pass


class Looks:
    def __call__(self, *_: Any) -> None:
        pass


HOOKS: dict[str, tuple[Callable[..., Any], str]] = {
    "function": (looks, "looks"),
    "partial": (partial(looks, 1), "looks"),
    "object": (Looks(), "Looks"),
    "builtin": ({}.setdefault, "dict.setdefault"),
}
"""Functions of C have no module."""


@pytest.mark.parametrize(("hook", "name"), HOOKS.values(), ids=list(HOOKS))
def test_a_hook_is_named(hook: Callable[..., Any], name: str) -> None:
    model = nn.Sequential(nn.ReLU())
    handle = model[0].register_forward_pre_hook(hook)
    assert is_hooked(model[0]) and not is_hooked(model)
    with pytest.raises(CaptureError, match=f"the forward hook {name} on module '0' would never"):
        check_hooks(model)
    handle.remove()
    assert not is_hooked(model[0])
    check_hooks(model)


@pytest.mark.parametrize("register", [register_module_forward_hook, register_module_forward_pre_hook])
def test_a_hook_on_all_modules(register: Callable[..., Any]) -> None:
    assert not sees_every_module()
    handle = register(looks)
    try:
        assert sees_every_module()
        with pytest.raises(CaptureError, match="the forward hook looks on every module"):
            check_hooks(nn.ReLU())
    finally:
        handle.remove()
    assert not sees_every_module()


def test_pytorchs_own() -> None:
    normed = nn.utils.spectral_norm(nn.Linear(3, 4))
    assert normed._forward_pre_hooks and not is_hooked(normed)
    check_hooks(normed)
    with ModuleTracker():
        assert nn.modules.module._global_forward_hooks and not sees_every_module()
