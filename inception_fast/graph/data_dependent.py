"""Where a model asks for a value that a trace does not have."""

from __future__ import annotations

import os
import traceback

import torch
from torch import nn
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from inception_fast.errors import CaptureError

_TORCH = os.path.dirname(torch.__file__) + os.sep


def branch_on_values(error: Exception, model: nn.Module) -> CaptureError | None:
    """What to say of an export that has failed because Python asked a tensor for its value; None of any other.

    Args:
        model: what was traced, whose modules are in the frames of the error.
    """
    if not isinstance(error, GuardOnDataDependentSymNode):
        return None
    paths = {id(module): path for path, module in model.named_modules()}
    path, line = "", ""
    for frame, number in traceback.walk_tb(error.__traceback__):
        path = paths.get(id(frame.f_locals.get("self"))) or path
        if not frame.f_code.co_filename.startswith((_TORCH, "<")):
            line = f"{frame.f_code.co_filename}:{number}"
    where = f"module '{path}'" if path else "the model"
    remedy = "decide on Python's own numbers, or when the module is made, or let inception_fast.swap replace its parts"
    if "torchvision" in line and "transforms" in line:
        remedy = "take the transform of the same name from torchvision.transforms.v2"
    message = f"{where} asks for a tensor's value in Python at {line}, which a trace does not have; {remedy}"
    return CaptureError(message, path)
