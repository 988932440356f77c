"""The shape of what a model returns: tensors in tuples, lists, dicts and named tuples, and how a file describes it."""

from __future__ import annotations

import math
import unicodedata
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch.fx.immutable_collections import immutable_dict, immutable_list

from inception_fast.errors import EngineFileError, InputError, InputTypeError

_MAX_DEPTH = 32
_PLAIN = (type(None), bool, int, float, str)
_SEQUENCES: dict[str, Any] = {"tuple": tuple, "list": list}
_MAPPINGS: dict[str, Any] = {"dict": dict, "ordered_dict": OrderedDict}
_TRACED: dict[type, Any] = {immutable_dict: dict, immutable_list: list}
"""What ``torch.fx`` writes into a graph for a container, and what the graph then returns."""


_RETURN_TYPES: dict[str, Any] = {kind.__name__: kind for kind in torch.return_types.all_return_types}
"""What ``max``, ``topk`` and others of PyTorch's return: tuples whose items have names."""


class TensorSlot:
    """Stands for a tensor in the sample that an :class:`OutputStructure` is made of."""


TENSOR = TensorSlot()


@dataclass(frozen=True)
class OutputStructure:
    """A model's result with :data:`TENSOR` in place of every tensor.

    Attributes:
        sample: tuples, lists, dicts, named tuples and what PyTorch's ``topk`` and such return, nested, with ``TENSOR``
            or a constant (None, bool, int, float, str) at the leaves.
    """

    sample: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "sample", _untraced(self.sample))
        for leaf in _leaves(self.sample, 0):
            if leaf is TENSOR:
                continue
            if not isinstance(leaf, _PLAIN) or (isinstance(leaf, float) and not math.isfinite(leaf)):
                raise InputTypeError(
                    "model", f"an output of {type(leaf).__name__}", "tensors in tuples, lists and dicts"
                )

    @property
    def tensors(self) -> int:
        """How many tensors there are; a tensor returned twice counts twice."""
        return sum(leaf is TENSOR for leaf in _leaves(self.sample, 0))

    def unflatten(self, tensors: Sequence[Any]) -> Any:
        """The model's result with ``tensors``, in order, at their places; containers are new on every call."""
        if len(tensors) != self.tensors:
            raise InputError("tensors", f"{len(tensors)} tensors", f"{self.tensors}, as many as the model returns")
        return self.builder()(tensors)

    def builder(self) -> Callable[[Sequence[Any]], Any]:
        """:meth:`unflatten` as a function that walks the structure no more, for the right number of tensors."""
        return _builder(self.sample, count())

    def flatten(self, value: Any, name: str) -> list[tuple[str, Any]]:
        """What ``value``, a result of this structure, has in the places of tensors, in order, each with its name.

        Args:
            name: of ``value``, for names such as ``out.logits`` or ``out[0]['map']``.

        Raises:
            InputError: the structure is another one; names the place.
        """
        return list(_places(self.sample, value, name))

    def to_json(self) -> Any:
        """A description made of what JSON knows, for :meth:`from_json`."""
        return _encode(self.sample)

    @classmethod
    def from_json(cls, description: Any) -> OutputStructure:
        """The inverse of :meth:`to_json`. A named tuple comes back as one with the same name and fields.

        Raises:
            EngineFileError: ``description`` is not what ``to_json`` writes.
        """
        return cls(_decode(description, 0))


def _is_named_tuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _is_return_type(value: Any) -> bool:
    return type(value) in _RETURN_TYPES.values()


def _untraced(value: Any, depth: int = 0) -> Any:
    """``value`` with plain containers in place of those that ``torch.fx`` makes."""
    kind = _TRACED.get(type(value), type(value))
    if depth > _MAX_DEPTH:
        return value
    if kind in _MAPPINGS.values():
        return kind((key, _untraced(item, depth + 1)) for key, item in value.items())
    if kind in _SEQUENCES.values() or _is_return_type(value):
        return kind(_untraced(item, depth + 1) for item in value)
    if _is_named_tuple(value):
        return type(value)(*[_untraced(item, depth + 1) for item in value])
    return value


def _leaves(value: Any, depth: int) -> Iterator[Any]:
    if depth > _MAX_DEPTH:
        raise InputError("model", f"outputs nested more than {_MAX_DEPTH} deep", "fewer levels")
    if type(value) in (tuple, list) or _is_named_tuple(value) or _is_return_type(value):
        for item in value:
            yield from _leaves(item, depth + 1)
    elif type(value) in _MAPPINGS.values():
        for key, item in value.items():
            if type(key) not in (str, int):
                raise InputTypeError("model", f"an output dict with the key {key!r}", "str or int keys")
            yield from _leaves(item, depth + 1)
    else:
        yield value


def _builder(value: Any, places: Iterator[int]) -> Callable[[Sequence[Any]], Any]:
    if value is TENSOR:
        place = next(places)
        return lambda tensors: tensors[place]
    kind = type(value)
    if isinstance(value, dict):
        keys, parts = list(value), [_builder(item, places) for item in value.values()]
        return lambda tensors: kind(zip(keys, [part(tensors) for part in parts], strict=True))
    if isinstance(value, tuple | list):
        parts = [_builder(item, places) for item in value]
        if _is_named_tuple(value):
            return lambda tensors: kind(*[part(tensors) for part in parts])
        return lambda tensors: kind([part(tensors) for part in parts])
    return lambda tensors: value


def _places(sample: Any, value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if sample is TENSOR:
        yield name, value
    elif _is_named_tuple(sample):
        if getattr(value, "_fields", None) != sample._fields:
            raise InputTypeError(name, type(value).__name__, f"a named tuple of {', '.join(sample._fields)}")
        for field, item, given in zip(sample._fields, sample, value, strict=True):
            yield from _places(item, given, f"{name}.{field}")
    elif isinstance(sample, tuple | list):
        if not isinstance(value, tuple | list) or len(value) != len(sample):
            got = f"{len(value)} items" if isinstance(value, tuple | list) else type(value).__name__
            raise InputTypeError(name, got, f"a {type(sample).__name__} of {len(sample)}")
        for index, (item, given) in enumerate(zip(sample, value, strict=True)):
            yield from _places(item, given, f"{name}[{index}]")
    elif isinstance(sample, dict):
        if not isinstance(value, dict) or value.keys() != sample.keys():
            got = f"the keys {', '.join(map(repr, value))}" if isinstance(value, dict) else type(value).__name__
            raise InputTypeError(name, got, f"a dict with the keys {', '.join(map(repr, sample))}")
        for key, item in sample.items():
            yield from _places(item, value[key], f"{name}[{key!r}]")
    elif isinstance(value, torch.Tensor) or value != sample:
        raise InputError(name, type(value).__name__, f"{sample!r}, as the model returns")


def _encode(value: Any) -> Any:
    if value is TENSOR:
        return {"kind": "tensor"}
    if _is_named_tuple(value):
        return {
            "kind": "namedtuple",
            "name": type(value).__name__,
            "fields": list(value._fields),
            "items": [_encode(item) for item in value],
        }
    if _is_return_type(value):
        return {"kind": "return_type", "name": type(value).__name__, "items": [_encode(item) for item in value]}
    for kind, container in _SEQUENCES.items():
        if type(value) is container:
            return {"kind": kind, "items": [_encode(item) for item in value]}
    for kind, container in _MAPPINGS.items():
        if type(value) is container:
            return {"kind": kind, "keys": list(value), "items": [_encode(item) for item in value.values()]}
    return {"kind": "constant", "value": value}


_MEMBERS: dict[str, set[str]] = {
    "tensor": set(),
    "constant": {"value"},
    "namedtuple": {"name", "fields", "items"},
    "return_type": {"name", "items"},
    **{kind: {"items"} for kind in _SEQUENCES},
    **{kind: {"keys", "items"} for kind in _MAPPINGS},
}


def _decode(node: Any, depth: int) -> Any:
    _require(depth <= _MAX_DEPTH, f"nested more than {_MAX_DEPTH} deep")
    _require(isinstance(node, dict), f"{node!r} in place of an object")
    kind = node.get("kind")
    _require(isinstance(kind, str) and kind in _MEMBERS, f"unknown kind {kind!r}")
    _require(node.keys() == {"kind", *_MEMBERS[kind]}, f"a {kind} with the members {sorted(map(str, node))}")
    if kind == "tensor":
        return TENSOR
    if kind == "constant":
        value = node["value"]
        _require(isinstance(value, _PLAIN), f"the constant {value!r}")
        _require(not isinstance(value, float) or math.isfinite(value), f"the constant {value!r}")
        return value
    _require(isinstance(node["items"], list), f"a {kind} whose items are not a list")
    items = [_decode(item, depth + 1) for item in node["items"]]
    if kind in _SEQUENCES:
        return _SEQUENCES[kind](items)
    if kind in _MAPPINGS:
        keys = node["keys"]
        _require(isinstance(keys, list) and all(type(k) in (str, int) for k in keys), f"a {kind} with keys {keys!r}")
        _require(len(keys) == len(items) == len(set(keys)), f"a {kind} with {len(items)} items and the keys {keys!r}")
        return _MAPPINGS[kind](zip(keys, items, strict=True))
    if kind == "return_type":
        made = _RETURN_TYPES.get(node["name"]) if isinstance(node["name"], str) else None
        _require(made is not None and made.n_fields == len(items), f"{len(items)} items of {node['name']!r}")
        return made(items)  # type: ignore[misc]
    return _named_tuple(node["name"], node["fields"], items)


def _named_tuple(name: Any, fields: Any, items: list[Any]) -> Any:
    _require(isinstance(name, str), f"a named tuple called {name!r}")
    _require(
        isinstance(fields, list) and len(fields) == len(items) and all(isinstance(f, str) for f in fields),
        f"a named tuple of {len(items)} items with the fields {fields!r}",
    )
    # Python reads a name in this form, so two names may be one, and what is no keyword may become one.
    name, *fields = (unicodedata.normalize("NFKC", text) for text in (name, *fields))
    try:
        # namedtuple admits identifiers only, so nothing from the file is ever run.
        return namedtuple(name, fields)(*items)  # type: ignore[misc]
    except ValueError as error:
        raise EngineFileError(f"output structure: {error}") from error


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise EngineFileError(f"output structure: {problem}")
