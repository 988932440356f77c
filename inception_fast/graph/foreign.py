"""Modules that are no Python any more: PyTorch's scripts, exported programs and quantised layers."""

from __future__ import annotations

import torch
from torch import fx, nn

from inception_fast.errors import InputTypeError

_FLOATING = (torch.ao.nn.quantized.FloatFunctional, torch.ao.nn.quantized.FXFloatFunctional)
"""Arithmetic on plain tensors, in models that are ready to be quantised."""
_QUANTISED = ("torch.ao.nn.quantized.", "torch.ao.nn.intrinsic.quantized.", "torch.nn.quantized.")


def check_foreign(model: nn.Module) -> None:
    """Refuses a model that has parts which cannot be traced for what they are.

    Raises:
        InputTypeError: names the first.
    """
    for path, module in model.named_modules():
        reason = foreign(module)
        if reason:
            where = f" (module '{path}')" if path else ""
            raise InputTypeError("model", reason[0] + where, reason[1])


def foreign(module: nn.Module) -> tuple[str, str] | None:
    """What a module is in place of what it should be, as an error has it; None where it can be traced."""
    if isinstance(module, torch.jit.ScriptModule):
        return f"a {type(module).__name__} of torch.jit", "the Python module that it was made of"
    if type(module).__module__.startswith(_QUANTISED) and not isinstance(module, _FLOATING):
        floating = "the floating-point model that it was made of; precision='int8' quantises that"
        return f"a quantised {type(module).__name__}", floating
    return None


def is_exported(model: nn.Module) -> bool:
    """Whether it is an ``ExportedProgram``'s ``module()``: its flag says training for ever, and means nothing, since
    what trains is written in the arguments of its operators.
    """
    return isinstance(model, fx.GraphModule) and "ExportedProgram" in getattr(model.eval, "__qualname__", "")
