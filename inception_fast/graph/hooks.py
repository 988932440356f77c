"""Forward hooks, which a Graph does not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.modules import module as global_hooks

from inception_fast.errors import CaptureError

_TABLES = ("_forward_pre_hooks", "_forward_hooks")


def check_hooks(model: nn.Module) -> None:
    """Refuses a model with hooks on its forward pass: they would see tensors without values, and then nothing more.

    PyTorch's own only prepare weights (``nn.utils.weight_norm``, ``spectral_norm``) or look at shapes (exported
    programs), and are traced.

    Raises:
        CaptureError: names the hook and its module.
    """
    for where, hook in _hooks(model):
        if _is_lost(hook):
            function = getattr(hook, "func", hook)
            name = getattr(function, "__qualname__", type(function).__qualname__)
            raise CaptureError(
                f"the forward hook {name} on {where} would never be called again; remove it before, "
                "or return from the model what it looks at"
            )


def is_hooked(module: nn.Module) -> bool:
    """Whether a module has a forward hook itself that a Graph would lose. It is asked at every call."""
    for table in _TABLES:
        hooks = getattr(module, table, None)
        if hooks and any(map(_is_lost, hooks.values())):
            return True
    return False


def sees_every_module() -> bool:
    """Whether there is a hook on all modules of the process, other than PyTorch's own, which keep count of them."""
    tables = (global_hooks._global_forward_pre_hooks, global_hooks._global_forward_hooks)
    # It is asked at every call.
    return any(tables) and any(not _home(hook).startswith("torch.") for hooks in tables for hook in hooks.values())


def _is_lost(hook: Any) -> bool:
    return not _home(hook).startswith(("torch.nn.", "torch.export."))


def _home(hook: Any) -> str:
    function = getattr(hook, "func", hook)
    return getattr(function, "__module__", None) or type(function).__module__


def _hooks(model: nn.Module) -> Iterator[tuple[str, Any]]:
    for path, module in model.named_modules():
        for table in _TABLES:
            for hook in getattr(module, table, {}).values():
                yield f"module '{path}'" if path else "the model", hook
    for hooks in (global_hooks._global_forward_pre_hooks, global_hooks._global_forward_hooks):
        for hook in hooks.values():
            yield "every module (register_module_forward_hook)", hook
