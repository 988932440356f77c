"""Frozen dataclasses <-> JSON, driven by their type hints; :func:`plan_to_json` is the form that C++ reads.

A dataclass is an object with all of its fields but the OPTIONAL ones that have their default, a tuple an array. Classes
with a ``kind`` (the steps) carry it as a first key. Equal values give equal bytes.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from inception_fast.errors import EngineFileError
from inception_fast.plan import strict_json
from inception_fast.plan.plan import Plan

SCALARS = {int: "an integer", float: "a number", bool: "true or false", str: "a string"}
NAMES = SCALARS | {dict: "an object", list: "an array"}


def plan_to_json(plan: Plan) -> bytes:
    """The Plan as ``docs/engine-file.md`` describes it."""
    return strict_json.dumps(encode(plan))


def plan_from_json(data: bytes) -> Plan:
    """The inverse of :func:`plan_to_json`.

    Raises:
        EngineFileError: the text is not the JSON form of a Plan.
        PlanError: it is, and the Plan breaks a rule.
    """
    return decode(Plan, strict_json.loads(data), "plan")


def encode(value: object) -> Any:
    """``value`` with dataclasses as dicts and tuples as lists; mappings in the order of their keys."""
    if is_dataclass(value):
        kind = {"kind": value.kind} if hasattr(value, "kind") else {}
        given = ((f, getattr(value, f.name)) for f in fields(value))
        return kind | {f.name: encode(v) for f, v in given if not (_is_optional(f) and v == f.default)}
    if isinstance(value, Mapping):
        return {key: encode(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    return value


def decode(hint: Any, value: object, where: str) -> Any:
    """The value of type ``hint`` that ``value``, from JSON, stands for.

    Args:
        hint: a scalar type, a dataclass, a union of dataclasses with a ``kind``, a Literal, a tuple or dict of these,
            an optional one of these, or ``object`` for anything.
        where: the path of ``value``, for messages.

    Raises:
        EngineFileError: a missing or unknown key, or a value of another type; names its path.
    """
    if hint is float and type(value) is int:
        return float(value)
    if hint in SCALARS:
        return _typed(hint, value, where)
    if is_dataclass(hint):
        return _decode_dataclass(hint, value, where)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is types.UnionType or origin is Union:
        return _decode_union(arguments, value, where)
    if origin is Literal:
        _require(value in arguments, value, f"one of {', '.join(arguments)}", where)
        return value
    if origin is tuple:
        return _decode_tuple(arguments, value, where)
    if origin is dict:
        items = _typed(dict, value, where).items()
        return {key: decode(arguments[1], item, f"{where}[{key!r}]") for key, item in items}
    return value


def _decode_dataclass(cls: Any, value: object, where: str) -> Any:
    given = _typed(dict, value, where)
    hints = _hints(cls)
    expected = {"kind", *hints} if hasattr(cls, "kind") else set(hints)
    optional = {f.name for f in fields(cls) if _is_optional(f)}
    for problem, keys in (("unknown", set(given) - expected), ("missing", expected - optional - set(given))):
        if keys:
            raise EngineFileError(f"{where}: {problem} key {min(keys)!r}")
    for name in optional & set(given):
        # A Plan has one form, and one of format 1 no keys of format 2.
        _require(given[name] is not None and given[name] != 0, given[name], "no key for null or 0", f"{where}.{name}")
    return cls(**{name: decode(hints[name], item, f"{where}.{name}") for name, item in given.items() if name != "kind"})


def _decode_union(arguments: tuple[Any, ...], value: object, where: str) -> Any:
    """``X | None``, or classes told apart by their ``kind``."""
    if value is None and types.NoneType in arguments:
        return None
    members = [a for a in arguments if a is not types.NoneType]
    if len(members) == 1:
        return decode(members[0], value, where)
    kind = _typed(dict, value, where).get("kind")
    chosen = next((m for m in members if m.kind == kind), None)
    _require(chosen is not None, kind, f"one of {', '.join(m.kind for m in members)}", f"{where}.kind")
    return decode(chosen, value, where)


def _decode_tuple(arguments: tuple[Any, ...], value: object, where: str) -> tuple[Any, ...]:
    items = _typed(list, value, where)
    if arguments[-1] is Ellipsis:
        arguments = (arguments[0],) * len(items)
    _require(len(items) == len(arguments), f"{len(items)} items", len(arguments), where)
    return tuple(decode(a, item, f"{where}[{i}]") for i, (a, item) in enumerate(zip(arguments, items, strict=True)))


def _is_optional(field: Field[Any]) -> bool:
    return bool(field.metadata.get("optional"))


@cache
def _hints(cls: Any) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in fields(cls)}


def _typed(expected: type, value: object, where: str) -> Any:
    # Not isinstance: a bool is no integer here.
    _require(type(value) is expected, value, NAMES[expected], where)
    return value


def _require(condition: bool, got: object, expected: object, where: str) -> None:
    if not condition:
        raise EngineFileError(f"{where}: got {str(got)[:40]!a}, expected {expected}")
