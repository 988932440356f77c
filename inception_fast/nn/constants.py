"""The numbers and strings that a module's forward pass may depend on."""

from __future__ import annotations

import copy
import dis
import functools
from collections.abc import Iterator
from operator import itemgetter
from types import CodeType, FunctionType
from typing import Any

from torch import nn

_PLAIN = (type(None), bool, int, float, str)
_MOST_ITEMS = 64
"""Of a container among a module's attributes, with those of containers in it; larger ones are not looked at."""
_WRITERS = {"append", "extend", "insert", "update", "setdefault", "pop", "popitem", "add", "remove", "discard", "clear"}
"""Methods of containers."""


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
    """The numbers, strings and containers of such that ``forward`` of a part of a model reads and does not write, the
    class of the part and a ``forward`` of its own; as they were. Looked at in each call, in a microsecond or less.
    """

    def __init__(self, module: nn.Module) -> None:
        own, names = vars(module), attributes_in_forward(module)
        self._get = itemgetter(*names) if names else None
        self._values = copy.deepcopy(self._get(own)) if self._get else None
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
    read, writes_items = _read_in_forward(type(module))  # type: ignore[arg-type]
    return [name for name in read if name in own and _is_constant(own[name], not writes_items)]


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
def _read_in_forward(kind: type[nn.Module]) -> tuple[tuple[str, ...], bool]:
    """The attributes that ``forward`` reads and does not write, and whether it may write to items of a container."""
    codes = [code for method in _methods_in_forward(kind).values() for code in _codes(method.__code__)]
    instructions = [instruction for code in codes for instruction in dis.get_instructions(code)]
    written = {i.argval for i in instructions if i.opname == "STORE_ATTR"}
    items = any(i.opname in ("STORE_SUBSCR", "DELETE_SUBSCR") for i in instructions)
    names = names_in_forward(kind)
    return tuple(sorted(names - written)), items or not _WRITERS.isdisjoint(names)


def _is_constant(value: object, containers: bool) -> bool:
    """Whether a value is a number, a string or a tuple of such; with ``containers`` also any other small one."""
    if type(value) is tuple and not containers:
        return all(isinstance(item, _PLAIN) for item in value)
    return isinstance(value, _PLAIN) or (containers and _items(value) is not None)


def _items(value: object, most: int = _MOST_ITEMS) -> int | None:
    """How many numbers and strings there are in a container and those in it; None where there are too many, or other
    things.
    """
    if isinstance(value, _PLAIN):
        return 1
    if type(value) not in (list, tuple, set, frozenset, dict):
        return None
    found = 1
    for item in (*value, *value.values()) if isinstance(value, dict) else value:  # type: ignore[attr-defined]
        within = _items(item, most - found) if found < most else None
        if within is None:
            return None
        found += within
    return found


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
    """``value`` as it is now, where it can be compared at little cost, else its type."""
    if isinstance(value, _PLAIN):
        return value
    return copy.deepcopy(value) if _items(value) is not None else type(value)
