"""The numbers and strings that a module's forward pass may depend on."""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from torch import nn

_PLAIN = (type(None), bool, int, float, str)
_MOST_ITEMS = 64
"""Of a container among a module's attributes; longer ones are not looked at."""


class Constants:
    """Attributes of a module that are numbers, strings or containers of such, as far as ``forward`` names them, itself
    or in methods that it names. What else users keep on a module, such as counts, may change without consequence.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module, self._names = module, sorted(names_in_forward(type(module)))

    def values(self) -> tuple[object, ...]:
        """Them, to be compared with what they are later."""
        own = vars(self._module)
        return tuple((name, _plain(own[name])) for name in self._names if name in own)


def names_in_forward(kind: type[nn.Module]) -> set[str]:
    """Attributes and globals that ``forward`` names, itself or in methods that it names."""
    found: set[str] = set()
    pending = ["forward"]
    while pending:
        method = next((vars(c)[pending[-1]] for c in kind.__mro__ if pending[-1] in vars(c)), None)
        pending.pop()
        function = getattr(method, "fget", method)
        if isinstance(function, FunctionType) and function.__module__ != nn.Module.__module__:
            names = set(_names(function.__code__))
            pending += names - found
            found |= names
    return found - {"training", "forward"}


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _plain(value: Any) -> object:
    """``value`` where it can be compared at no cost, else its type."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, list | tuple | set | frozenset | dict) and len(value) <= _MOST_ITEMS:
        items = value.items() if isinstance(value, dict) else value
        flat = [part for item in items for part in (item if isinstance(item, tuple) else (item,))]
        if all(isinstance(part, _PLAIN) for part in flat):
            return type(value), frozenset(value) if isinstance(value, set | frozenset) else tuple(flat)
    return type(value)
