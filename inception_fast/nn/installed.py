"""What takes the place of a module's ``forward``, so that the module itself stays."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import CodeType
from typing import Any

import torch
from torch import nn

from inception_fast.artefacts.choose import module_of
from inception_fast.errors import InputError
from inception_fast.graph.foreign import is_exported
from inception_fast.scripting import Unscriptable


class Installed(Unscriptable):
    """A module that is called in the place of another one's ``forward``.

    Attributes:
        module: whose ``forward`` it is to be.
        original: computes what that did before.
    """

    module: nn.Module
    original: nn.Module

    @property
    def __signature__(self) -> inspect.Signature:
        script = isinstance(self.module, torch.jit.ScriptModule)
        return inspect.signature(module_of(self.module).forward if script else self.original.forward)

    @property
    def __code__(self) -> CodeType:
        # torch.export asks for it.
        code: CodeType = self.original.forward.__code__
        return code

    @property
    def trains(self) -> bool:
        # Scripts that are frozen have no mode.
        return getattr(self.module, "training", False) and not is_exported(self.module)

    def check_inference(self) -> None:
        """Refuses a module in training mode."""
        if self.trains:
            raise InputError("training", True, "False: a swapped module is for inference; call .eval()")

    def install(self) -> Callable[[], None]:
        """Takes the place of the module's ``forward``; returns how to undo it."""
        table = vars(self.module)
        before: Any = table.get("forward")
        table["forward"] = self

        def undo() -> None:
            if table.get("forward") is not self:
                # Somebody else's, put there since.
                return
            if before is None:
                del table["forward"]
            else:
                table["forward"] = before

        return undo


def is_in_place(module: nn.Module) -> bool:
    """Whether a module has another ``forward`` in the place of its own."""
    return isinstance(vars(module).get("forward"), Installed)
