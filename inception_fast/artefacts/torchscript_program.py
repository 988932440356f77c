"""The graph of a TorchScript method as steps that Python can take, without a reference into PyTorch's own graph."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_RANGE = re.compile(r'File "([^"]+)", line (\d+)')
_CALL = "prim::CallFunction"
Adopt = Callable[[Tensor, str], str]
"""Takes a tensor that is a constant of a graph, and the graph's name for it; gives the name of its buffer."""


@dataclass(frozen=True)
class TensorConstant:
    """A tensor that a graph has as a constant: the buffer of the module, and its value where it is a single number."""

    buffer: str
    number: int | float | bool | None


@dataclass(frozen=True)
class Step:
    """One node of a graph.

    Attributes:
        kind: such as ``aten::conv2d`` or ``prim::If``.
        inputs, outputs: numbers of values.
        name: the attribute or method of ``prim::GetAttr``, ``prim::SetAttr`` and ``prim::CallMethod``.
        overload: PyTorch's operator, where it has one.
        function: the body of ``prim::CallFunction``.
        fields: the names of a named tuple.
        types: those that ``prim::isinstance`` asks for, each with what it contains.
        line: ``file:line`` in what was scripted, ``''`` where none was recorded.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    blocks: tuple[Program, ...] = ()
    name: str = ""
    overload: torch._ops.OpOverload | None = None
    function: Program | None = None
    fields: tuple[str, tuple[str, ...]] | None = None
    types: tuple[tuple[Any, ...], ...] = ()
    line: str = ""


@dataclass(frozen=True)
class Program:
    """A graph, or a block of one, whose values are numbered alike.

    Attributes:
        constants: by value; tensors as :class:`TensorConstant`.
    """

    inputs: tuple[int, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    constants: dict[int, Any]


def program_of(graph: Any, adopt: Adopt) -> Program:
    """The steps of a ``torch._C.Graph``; method calls stay, function calls become programs of their own."""
    return _program(graph, graph.return_node().inputs(), adopt)


def _program(block: Any, outputs: Any, adopt: Adopt) -> Program:
    steps, constants = [], {}
    for node in block.nodes():
        kind = node.kind()
        if kind == "prim::Constant":
            value = node.output()
            if value.type().kind() != "FunctionType":
                constants[value.unique()] = _constant(value, adopt)
            continue
        inputs = list(node.inputs())
        steps.append(
            Step(
                kind,
                tuple(v.unique() for v in (inputs[1:] if kind == _CALL else inputs)),
                tuple(v.unique() for v in node.outputs()),
                tuple(_program(b, b.outputs(), adopt) for b in node.blocks()),
                node.s("name") if node.hasAttribute("name") else "",
                _overload(node),
                program_of(_body(node), adopt) if kind == _CALL else None,
                _fields(node) if kind == "prim::TupleConstruct" else None,
                tuple(map(_kind, node.tys("types"))) if kind == "prim::isinstance" else (),
                line_of(node),
            )
        )
    return Program(_numbers(block.inputs()), tuple(steps), _numbers(outputs), constants)


def _numbers(values: Any) -> tuple[int, ...]:
    return tuple(v.unique() for v in values)


def _kind(kind: Any) -> tuple[Any, ...]:
    return kind.kind(), tuple(map(_kind, kind.containedTypes()))


def _constant(value: Any, adopt: Adopt) -> Any:
    constant = value.toIValue()
    if not isinstance(constant, Tensor):
        return constant
    number = constant.item() if constant.dim() == 0 and not constant.is_quantized else None
    return TensorConstant(adopt(constant, value.debugName()), number)


def _overload(node: Any) -> torch._ops.OpOverload | None:
    text = node.schema()
    if text == "(no schema)":
        return None
    schema = torch._C.parse_schema(text)
    namespace, _, name = schema.name.partition("::")
    if namespace == "prim":
        # Some of them work on the interpreter's own stack, and crash where Python calls them.
        return None
    packet = getattr(getattr(torch.ops, namespace), name, None)
    return getattr(packet, schema.overload_name or "default", None)


def _body(node: Any) -> Any:
    """The graph of the function that a node calls: PyTorch inlines it into a graph that has nothing but the call."""
    graph: Any = torch._C.Graph()
    function, *arguments = node.inputs()
    copied = graph.insertNode(graph.createClone(function.node(), lambda value: value))
    new = {function.unique(): copied.output()}
    given = []
    for value in arguments:
        # One value given twice is two arguments.
        given.append(graph.addInput())
        given[-1].setType(value.type())
    call = graph.createClone(node, lambda value: new.get(value.unique(), given[0] if given else copied.output()))
    for place, value in enumerate(given, 1):
        call.replaceInput(place, value)
    graph.insertNode(call)
    for value in call.outputs():
        graph.registerOutput(value)
    torch._C._jit_pass_inline(graph)
    return graph


def _fields(node: Any) -> tuple[str, tuple[str, ...]] | None:
    """The name and fields of a named tuple, which PyTorch tells of no type, only of a value; None of a plain tuple."""
    if "." not in node.output().type().annotation_str.partition("[")[0]:
        return None
    graph: Any = torch._C.Graph()
    none = graph.insertConstant(None)
    maker = graph.createClone(node, lambda value: none)
    graph.insertNode(maker)
    graph.registerOutput(maker.output())
    value = torch._C._create_function_from_graph("named", graph)()
    return type(value).__name__, tuple(value._fields)


def line_of(node: Any) -> str:
    """Where a node was written."""
    found = _RANGE.search(node.sourceRange())
    return f"{found[1]}:{found[2]}" if found else ""
