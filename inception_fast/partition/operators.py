"""The rest of a partitioned model as JSON: which of PyTorch's operators run, on what.

Only operators of PyTorch's own that neither write to their arguments nor touch files are written, and only such are
read, so a file names no code of its own.
"""

from __future__ import annotations

import keyword
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from inception_fast.errors import EngineFileError, InputError
from inception_fast.graph.translate import place_of, source_line

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "getitem": operator.getitem,
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "floordiv": operator.floordiv,
    "truediv": operator.truediv,
    "mod": operator.mod,
    "neg": operator.neg,
    "pow": operator.pow,
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "and": operator.and_,
    "or": operator.or_,
    "trunc": math.trunc,
    "ceil": math.ceil,
    "floor": math.floor,
    "sym_max": torch.sym_max,
    "sym_min": torch.sym_min,
    "sym_float": torch.sym_float,
    "sym_int": torch.sym_int,
    "sym_not": torch.sym_not,
}
_NAMES = {function: name for name, function in _FUNCTIONS.items()}
_CONSTANTS: dict[str, dict[str, Any]] = {
    kind: {str(v).removeprefix("torch."): v for v in vars(torch).values() if type(v) is cls}
    for kind, cls in (("dtype", torch.dtype), ("layout", torch.layout), ("memory_format", torch.memory_format))
}
_FORBIDDEN = ("from_file", "save", "load")
_MAX_DEPTH = 16
_CONSTANT, _ISLAND = re.compile(r"constant[0-9]+"), re.compile(r"island[0-9]+")


def to_json(rest: fx.GraphModule) -> list[dict[str, Any]]:
    """The nodes of a module that :func:`~inception_fast.partition.rest.assemble` made, in order.

    Raises:
        InputError: an operator is none of PyTorch's own; names it.
    """
    places = {node: i for i, node in enumerate(rest.graph.nodes)}
    return [_node_to_json(node, places) for node in rest.graph.nodes]


def _node_to_json(node: fx.Node, places: Mapping[fx.Node, int]) -> dict[str, Any]:
    target = node.target
    if node.op == "call_function":
        found = _NAMES.get(target) if not isinstance(target, torch._ops.OpOverload) else _name_of(target)  # type: ignore[arg-type]
        if found is None:
            raise _refusal(node, f"operator {target}")
        target = found
    elif node.op == "get_attr" and not _CONSTANT.fullmatch(str(target)):
        raise _refusal(node, f"a part of the model under torch's control flow ({target})")
    args = [_to_json(a, places, node) for a in node.args]
    kwargs = {name: _to_json(a, places, node) for name, a in node.kwargs.items()}
    return {"op": node.op, "target": str(target), "args": args, "kwargs": kwargs}


def _refusal(node: fx.Node, what: str) -> InputError:
    where = f" in module '{place_of(node).origin}'" if place_of(node).origin else ""
    line = f" at {source_line(node)}" if source_line(node) else ""
    expected = "operators of PyTorch's own, which a file can name without code; keep the model itself, and optimize it"
    return InputError("model", f"{what}{where}{line}", expected)


def _name_of(target: torch._ops.OpOverload) -> str | None:
    return str(target) if target.namespace == "aten" and _is_harmless(target) else None


def _is_harmless(target: torch._ops.OpOverload) -> bool:
    name = target._schema.name.partition("::")[2]
    return not target._schema.is_mutable and not any(word in name for word in _FORBIDDEN)


def _to_json(value: Any, places: Mapping[fx.Node, int], node: fx.Node) -> Any:
    if isinstance(value, fx.Node):
        return {"node": places[value]}
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, tuple | list):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_to_json(item, places, node) for item in value]}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    for kind, known in _CONSTANTS.items():
        name = str(value).removeprefix("torch.")
        if name in known and known[name] is value:
            return {kind: name}
    raise _refusal(node, f"an argument of {type(value).__name__} of operator {node.target}")


def from_json(
    nodes: Any, constants: Mapping[str, Tensor], engines: Mapping[str, nn.Module], device: torch.device
) -> fx.GraphModule:
    """The inverse of :func:`to_json`.

    Args:
        constants, engines: what nodes refer to by name.
        device: where the constants are; operators that name a device get this one.

    Raises:
        EngineFileError: these are no nodes that ``to_json`` writes.
    """
    root, graph, made = nn.Module(), fx.Graph(), list[fx.Node]()
    for name, tensor in constants.items():
        _require(_CONSTANT.fullmatch(name) is not None, f"a constant called {name!r}")
        root.register_buffer(name, tensor)
    for name, engine in engines.items():
        _require(_ISLAND.fullmatch(name) is not None, f"an engine called {name!r}")
        root.add_module(name, engine)
    _require(isinstance(nodes, list) and len(nodes) > 0, "none")
    for i, entry in enumerate(nodes):
        _require(isinstance(entry, dict) and entry.keys() == {"op", "target", "args", "kwargs"}, f"node {i}")
        op, target = entry["op"], entry["target"]
        _require(isinstance(op, str) and isinstance(target, str), f"node {i} with op {op!r} and target {target!r}")
        _require(isinstance(entry["args"], list) and isinstance(entry["kwargs"], dict), f"node {i} without arguments")
        args = tuple(_from_json(a, made, device, 0) for a in entry["args"])
        kwargs = {name: _from_json(a, made, device, 0) for name, a in entry["kwargs"].items()}
        _require((op == "output") == (i == len(nodes) - 1), f"node {i} of {len(nodes)} is an {op}")
        function = _target(op, target, constants, engines)
        # Their names become Python.
        _require(kwargs.keys() <= _parameters(function), f"the arguments {', '.join(kwargs)} of {target!r}")
        made.append(graph.create_node(op, function, args, kwargs))
    try:
        graph.lint()
        return fx.GraphModule(root, graph, "Rest").eval()
    except Exception as error:
        raise EngineFileError(f"operators: {error}") from error


def _target(op: str, target: str, constants: Mapping[str, Tensor], engines: Mapping[str, nn.Module]) -> Any:
    if op == "call_function":
        if target in _FUNCTIONS:
            return _FUNCTIONS[target]
        namespace, _, name = target.partition(".")
        packet, _, overload = name.partition(".")
        found = getattr(getattr(torch.ops.aten, packet, None), overload or "default", None)
        known = namespace == "aten" and isinstance(found, torch._ops.OpOverload) and _is_harmless(found)
        _require(known, f"the operator {target!r}")
        return found
    _require(op in ("placeholder", "get_attr", "call_module", "output"), f"a node that is a {op!r}")
    _require(op != "get_attr" or target in constants, f"the constant {target!r}, which is not there")
    _require(op != "call_module" or target in engines, f"the engine {target!r}, which is not there")
    _require(op != "placeholder" or _is_name(target), f"an argument called {target!r}")
    return target


def _parameters(target: Any) -> set[str]:
    """What may be given by name."""
    return {a.name for a in target._schema.arguments} if isinstance(target, torch._ops.OpOverload) else set()


def _is_name(text: str) -> bool:
    return text.isascii() and text.isidentifier() and not keyword.iskeyword(text)


def _from_json(value: Any, made: Sequence[fx.Node], device: torch.device, depth: int) -> Any:
    _require(depth <= _MAX_DEPTH, f"arguments nested more than {_MAX_DEPTH} deep")
    if value is None or isinstance(value, bool | str | int):
        return value
    _require(isinstance(value, dict) and len(value) == 1, f"the argument {value!r}")
    ((kind, content),) = value.items()
    if kind == "node":
        _require(type(content) is int and 0 <= content < len(made), f"a reference to node {content!r}")
        return made[content]
    if kind in ("tuple", "list"):
        _require(isinstance(content, list), f"a {kind} of {content!r}")
        items = [_from_json(item, made, device, depth + 1) for item in content]
        return tuple(items) if kind == "tuple" else items
    _require(isinstance(content, str), f"the argument {value!r}")
    if kind == "float":
        try:
            return float.fromhex(content)
        except (ValueError, OverflowError):
            raise EngineFileError(f"operators: the number {content!r}") from None
    if kind == "device":
        return device
    _require(kind in _CONSTANTS and content in _CONSTANTS[kind], f"the argument {value!r}")
    return _CONSTANTS[kind][content]


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise EngineFileError(f"operators: {problem}")
