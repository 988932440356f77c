"""The numbers and strings that a module's forward pass may depend on."""

from __future__ import annotations

import dis
import functools
from collections.abc import Iterator
from operator import itemgetter
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


class Attributes:
    """The numbers, strings and tuples of such that ``forward`` of a part of a model reads and does not write, the class
    of the part and a ``forward`` of its own; as they were. Looked at in each call, in a fraction of a microsecond.
    """

    def __init__(self, module: nn.Module) -> None:
        own, names = vars(module), attributes_in_forward(module)
        self._get = itemgetter(*names) if names else None
        self._values = self._get(own) if self._get else None
        self._kind, self._forward = type(module), id(own.get("forward"))

    def are_those_of(self, module: nn.Module) -> bool:
        """Whether they are the same now."""
        own = vars(module)
        if type(module) is not self._kind or id(own.get("forward")) != self._forward:
            return False
        try:
            return self._get is None or bool(self._get(own) == self._values)
        except KeyError:
            return False


def attributes_in_forward(module: nn.Module) -> list[str]:
    """The names of :class:`Attributes` of a module."""
    own = vars(module)
    read = _read_in_forward(type(module))  # type: ignore[arg-type]
    return [name for name in read if name in own and _is_immutable(own[name])]


@functools.cache
def reads_mode(kind: type[nn.Module]) -> bool:
    """Whether ``forward`` of modules of a class may depend on their training mode."""
    forward = next(vars(c)["forward"] for c in kind.__mro__ if "forward" in vars(c))
    if not isinstance(forward, FunctionType):
        # A script's.
        return True
    methods = _methods_in_forward(kind).values()
    return any("training" in code.co_names for method in methods for code in _codes(method.__code__))


@functools.cache
def _read_in_forward(kind: type[nn.Module]) -> tuple[str, ...]:
    written = {
        instruction.argval
        for method in _methods_in_forward(kind).values()
        for code in _codes(method.__code__)
        for instruction in dis.get_instructions(code)
        if instruction.opname == "STORE_ATTR"
    }
    return tuple(sorted(names_in_forward(kind) - written))


def _is_immutable(value: object) -> bool:
    return isinstance(value, _PLAIN) or (type(value) is tuple and all(isinstance(item, _PLAIN) for item in value))


def names_in_forward(kind: type[nn.Module]) -> set[str]:
    """Attributes and globals that ``forward`` names, itself or in methods that it names."""
    found = {
        name
        for method in _methods_in_forward(kind).values()
        for code in _codes(method.__code__)
        for name in code.co_names
    }
    return found - {"training", "forward"}


def _methods_in_forward(kind: type[nn.Module]) -> dict[str, FunctionType]:
    """``forward`` and the methods that it names, by name."""
    found: dict[str, FunctionType] = {}
    seen, pending = {"forward"}, ["forward"]
    while pending:
        name = pending.pop()
        method = next((vars(c)[name] for c in kind.__mro__ if name in vars(c)), None)
        function = getattr(method, "fget", method)
        if isinstance(function, FunctionType) and function.__module__ != nn.Module.__module__:
            found[name] = function
            names = {n for code in _codes(function.__code__) for n in code.co_names}
            pending += names - seen
            seen |= names
    return found


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A code and those of the functions inside of it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


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
