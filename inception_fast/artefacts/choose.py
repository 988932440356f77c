"""Which module is meant by what ``optimize`` is given."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from inception_fast.artefacts.exported import named_arguments
from inception_fast.artefacts.torchscript import import_script
from inception_fast.errors import InputTypeError
from inception_fast.graph.twin import twin_of

_READERS = {
    ".pt2": "what torch.export.load reads there; the only files that are read here are .onnx ones",
    ".ifast": "a model to optimize; inception_fast.load reads a finished one",
}
_ANY_READER = (
    "the path of an .onnx file, or a module: what torch.jit.load or torch.load reads there, or the model's own class "
    "with the file's state_dict loaded"
)


def module_of(model: Any, device: torch.device | None = None) -> Any:
    """The module of Python's that computes what ``model`` does; a module of Python's itself.

    Args:
        model: a module of ``torch.jit``, or one that has such inside; a ``torch.export.ExportedProgram``; the path of
            an ``.onnx`` file, or an ``onnx.ModelProto``; else it is returned.
        device: where the module of a file is to be; the CPU by default. Others stay where they are.

    Raises:
        CaptureError: a script has hooks.
        InputTypeError: the path of a file of another kind.
        ModelFileError, OnnxUnavailableError, UnsupportedOpError: see
            :func:`inception_fast.artefacts.onnx.files.load_onnx`.
    """
    if type(model).__name__ == "ModelProto" or _is_path(model, ".onnx"):
        # The onnx package is an extra.
        from inception_fast.artefacts.onnx.files import load_onnx

        return load_onnx(model).to(device)
    if isinstance(model, str | os.PathLike):
        raise InputTypeError("model", repr(os.fspath(model)), _READERS.get(Path(model).suffix.lower(), _ANY_READER))
    if isinstance(model, ExportedProgram):
        return named_arguments(model.module())
    if isinstance(model, torch.jit.ScriptModule):
        return import_script(model)
    if isinstance(model, nn.Module) and any(isinstance(m, torch.jit.ScriptModule) for m in model.modules()):
        return _with_scripts(model)
    return named_arguments(model) if isinstance(model, nn.Module) else model


def _is_path(model: Any, suffix: str) -> bool:
    return isinstance(model, str | os.PathLike) and Path(model).suffix.lower() == suffix


def _with_scripts(model: nn.Module) -> nn.Module:
    """A copy with the same tensors, its scripts imported."""
    twin = twin_of(model)
    for module in [m for m in twin.modules() if not isinstance(m, torch.jit.ScriptModule)]:
        for name, child in module._modules.items():
            if isinstance(child, torch.jit.ScriptModule):
                module._modules[name] = import_script(child)
    return twin
