"""``torch.jit.script`` of fast modules, whose code TorchScript does not know."""

from __future__ import annotations

from typing import NoReturn

from inception_fast.errors import InputTypeError


class Unscriptable:
    """A module that says so."""

    def __prepare_scriptable__(self) -> NoReturn:
        """PyTorch calls it for each module that it is to script.

        Raises:
            InputTypeError: names the remedy.
        """
        expected = "a module in TorchScript: torch.jit.trace the fast one, or script the model that it was made of"
        raise InputTypeError("torch.jit.script", type(self).__name__, expected)
