"""What fast models say where they are asked for the parameters or parts of the model that they were made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, TypeVar

from torch import nn

from inception_fast.errors import InputAttributeError, InputError, NoParametersError
from inception_fast.scripting import Unscriptable

Self = TypeVar("Self", bound="Fused")


class Fused(Unscriptable, nn.Module):
    """A module without parameters, that says so."""

    face: ClassVar[str]
    """What it is called in errors."""
    instead: ClassVar[str]
    """Where to look for what one wants of parameters."""

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """None; ``next()`` of them says where weights and devices are, which a loop takes for the end."""
        return _NoParameters(self.face, self.instead)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        if requires_grad:
            raise InputError("requires_grad", True, f"False: a {self.face} is for inference; train the model itself")
        return self

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            expected = f"an attribute of {self.face}; the parts of the model that it was made of are fused"
            got = f"asked of a {self.face}, which has no such attribute"
            raise InputAttributeError(name, got, expected) from None


class _NoParameters(Iterator[nn.Parameter]):
    def __init__(self, face: str, instead: str) -> None:
        self._face, self._instead = face, instead

    def __next__(self) -> nn.Parameter:
        got = f"the first one asked for of a {self._face}, which has none"
        raise NoParametersError("parameters()", got, self._instead)
