"""Which module is meant by what ``optimize`` is given."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from inception_fast.artefacts.exported import named_arguments
from inception_fast.artefacts.torchscript import import_script
from inception_fast.graph.twin import twin_of


def module_of(model: Any) -> Any:
    """The module of Python's that computes what ``model`` does; a module of Python's itself.

    Args:
        model: a module of ``torch.jit``, or one that has such inside; a ``torch.export.ExportedProgram``; else it is
            returned.

    Raises:
        CaptureError: a script has hooks.
    """
    if isinstance(model, ExportedProgram):
        return named_arguments(model.module())
    if isinstance(model, torch.jit.ScriptModule):
        return import_script(model)
    if isinstance(model, nn.Module) and any(isinstance(m, torch.jit.ScriptModule) for m in model.modules()):
        return _with_scripts(model)
    return named_arguments(model) if isinstance(model, nn.Module) else model


def _with_scripts(model: nn.Module) -> nn.Module:
    """A copy with the same tensors, its scripts imported."""
    twin = twin_of(model)
    for module in [m for m in twin.modules() if not isinstance(m, torch.jit.ScriptModule)]:
        for name, child in module._modules.items():
            if isinstance(child, torch.jit.ScriptModule):
                module._modules[name] = import_script(child)
    return twin
