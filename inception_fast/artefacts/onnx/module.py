"""From an ONNX graph to an fx module."""

from __future__ import annotations

import keyword
import operator
import re
from collections.abc import Collection
from typing import Any

import torch
from onnx import AttributeProto, GraphProto, NodeProto, helper
from torch import Tensor, fx, nn

from inception_fast.artefacts.onnx.files import DOMAINS
from inception_fast.artefacts.onnx.node import OnnxNode, Operation
from inception_fast.artefacts.onnx.numbers import numbers_in
from inception_fast.artefacts.onnx.operators import RULES
from inception_fast.artefacts.onnx.tensors import DTYPES, tensor_of, type_name
from inception_fast.errors import ModelFileError

SEVERAL_OUTPUTS = ("Split",)
_REAL = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow"), (0, 1)),
    "Clip": (1, 2),
    "Dropout": (1, 2),
    "Pad": (2,),
    "Resize": (1, 2),
    "Upsample": (1,),
}
"""Which inputs are taken as numbers where they are constants of floating point with rank 0 or 1."""
_LISTS = ("Resize", "Upsample")
_STATISTICS = {"BatchNormalization": (3, 4)}
"""Which inputs are buffers, as in PyTorch."""
_QUANTISED = re.compile(r"Quantize|^QLinear|^QGemm|Integer$|^QAttention")
_PLAIN = {
    "value_int": torch.int64,
    "value_ints": torch.int64,
    "value_float": torch.float32,
    "value_floats": torch.float32,
}
"""Types of a Constant's attributes that are no tensors."""
_RESERVED = frozenset(dir(fx.GraphModule(nn.Module(), fx.Graph())))


class GraphBuilder:
    """Makes a module of a graph.

    Args:
        name: of the file, for errors.
        opset: of the standard's operators.
    """

    def __init__(self, name: str, graph: GraphProto, opset: int) -> None:
        self._name, self._onnx, self._opset = name, graph, opset
        self._root, self._graph = nn.Module(), fx.Graph()
        self._protos = {t.name: t for t in graph.initializer}
        self._inputs = [i for i in graph.input if i.name not in self._protos]
        self._read = self._read_names()
        self._nodes = [
            (self._described(node, i), node)
            for i, node in enumerate(graph.node)
            if any(name in self._read for name in node.output)
        ]
        self._constants: dict[str, Tensor] = {}
        self._values: dict[str, Any] = {}
        self._statistics = {
            name
            for node in graph.node
            for position in _STATISTICS.get(node.op_type, ())
            for name in node.input[position : position + 1]
        }

    def check_operators(self) -> None:
        """Refuses the first operator that is not served.

        Raises:
            UnsupportedOpError: names it.
        """
        if self._onnx.sparse_initializer:
            raise ModelFileError(f"{self._name} has sparse initialisers, which are not read")
        for node, _ in self._nodes:
            if _QUANTISED.search(node.op):
                raise node.refusal(
                    "the file is quantised; export the floating-point model, and optimize it with precision='int8', "
                    "which quantises that"
                )
            node.require(node.domain in DOMAINS, "an operator of another domain than the standard's")
            node.require(node.op == "Constant" or node.op in RULES, "the Inception family has no such operator")
            node.require(node.outputs == 1 or node.op in SEVERAL_OUTPUTS, "only its first output is served")

    def build(self) -> fx.GraphModule:
        """The module, in eval mode.

        Raises:
            ModelFileError: a constant is of a type that is not served, or a node reads what none before it computes.
        """
        batch = self._placeholders()
        for node, proto in self._nodes:
            if any(name in self._values or self._is_constant(name) for name in proto.output if name):
                raise ModelFileError(f"{self._name} is no valid ONNX model: {list(proto.output)} are computed twice")
            if node.op == "Constant":
                self._constants[proto.output[0]] = _constant(node)
                continue
            if node.op == "Identity" and self._is_constant(proto.input[0]):
                # Exporters write equal weights once.
                self._constants[proto.output[0]] = self._constant(proto.input[0])
                continue
            self._add(node, proto, batch)
        outputs = [
            self._tensor(o.name) if self._is_constant(o.name) else self._computed(o.name) for o in self._onnx.output
        ]
        self._graph.output(outputs[0] if len(outputs) == 1 else tuple(outputs))
        module = fx.GraphModule(self._root, self._graph, "OnnxModel").eval()
        module.meta["input_shapes"] = [_declared(i) for i in self._inputs]
        return module

    def _read_names(self) -> set[str]:
        """What the outputs follow from."""
        makers = {name: node for node in self._onnx.node for name in node.output if name}
        pending = [o.name for o in self._onnx.output]
        found: set[str] = set()
        while pending:
            name = pending.pop()
            if name not in found:
                found.add(name)
                pending += makers[name].input if name in makers else ()
        return found

    def _described(self, node: NodeProto, index: int) -> OnnxNode:
        attributes = {a.name: _attribute(a) for a in node.attribute}
        read = [i for i, name in enumerate(node.output) if name in self._read]
        name = node.name or f"{node.op_type}_{index}"
        outputs = len(node.output) if node.op_type in SEVERAL_OUTPUTS else max(read) + 1
        return OnnxNode(node.op_type, name, node.domain, self._opset, attributes, outputs)

    def _placeholders(self) -> tuple[int, fx.Node] | None:
        """Enters the inputs; the size of the batch that the file is fixed to, and where to find that of a call."""
        taken: set[str] = {"self"}
        for value in self._inputs:
            kind = value.type.tensor_type.elem_type
            if kind not in DTYPES:
                raise ModelFileError(
                    f"{self._name}: its input '{value.name}' is no tensor, or one of {type_name(kind)}"
                )
            self._values[value.name] = self._graph.placeholder(_argument(value.name, taken))
        if not self._inputs:
            raise ModelFileError(f"{self._name} has no inputs besides its weights")
        sizes = {(_declared(i) or [0])[0] for i in self._inputs}
        if len(sizes) > 1 or not sizes.difference((0,)):
            return None
        return sizes.pop(), self._graph.call_method("size", (self._values[self._inputs[0].name], 0))

    def _add(self, node: OnnxNode, proto: NodeProto, batch: tuple[int, fx.Node] | None) -> None:
        real = _REAL.get(node.op, ())
        inputs = [self._value(name, node.op in _LISTS, i in real) for i, name in enumerate(proto.input)]
        if batch and node.op == "Reshape" and isinstance(inputs[1], list) and inputs[1][:1] == [batch[0]]:
            inputs.append(batch[1])
        path = self._enter(node.name, Operation(node))
        result = self._graph.call_module(path, tuple(inputs))
        if node.op in SEVERAL_OUTPUTS:
            for i, name in enumerate(proto.output[: node.outputs]):
                self._values[name] = self._graph.call_function(operator.getitem, (result, i))
        else:
            self._values[proto.output[0]] = result

    def _value(self, name: str, lists: bool, real: bool) -> Any:
        """What a node reads: numbers, a node, or None."""
        if not name:
            return None
        if not self._is_constant(name):
            return self._computed(name)
        constant = self._constant(name)
        numbers = numbers_in(constant, real=real and (lists or constant.numel() == 1))
        return self._tensor(name) if numbers is None else numbers

    def _computed(self, name: str) -> Any:
        if name not in self._values:
            raise ModelFileError(f"{self._name} is no valid ONNX model: '{name}' is read before it is computed")
        return self._values[name]

    def _is_constant(self, name: str) -> bool:
        return name in self._constants or name in self._protos

    def _constant(self, name: str) -> Tensor:
        if name not in self._constants:
            self._constants[name] = tensor_of(self._protos[name])
        return self._constants[name]

    def _tensor(self, name: str) -> fx.Node:
        """A constant as a parameter or buffer of the module."""
        if name not in self._values:
            constant: Any = self._constant(name)
            if constant.is_floating_point() and name not in self._statistics:
                constant = nn.Parameter(constant, requires_grad=False)
            self._values[name] = self._graph.get_attr(self._enter(name, constant))
        return self._values[name]

    def _enter(self, name: str, value: nn.Module | Tensor) -> str:
        """Makes a module or tensor a part of the module; its path, which is ``name`` wherever a path can be."""
        parts = [re.sub(r"[^A-Za-z0-9_:-]", "_", part) for part in re.split(r"[./]", name) if part] or ["_"]
        owner, path = self._root, list[str]()
        for part in parts[:-1]:
            part = _free(owner, part, (nn.Module,))
            if part not in owner._modules:
                owner.add_module(part, nn.Module())
            owner = owner.get_submodule(part)
            path.append(part)
        path.append(_free(owner, parts[-1]))
        if isinstance(value, nn.Module):
            owner.add_module(path[-1], value)
        elif isinstance(value, nn.Parameter):
            owner.register_parameter(path[-1], value)
        else:
            owner.register_buffer(path[-1], value)
        return ".".join(path)


def _free(owner: nn.Module, part: str, shared: Collection[type] = ()) -> str:
    """A name that nothing in ``owner`` has, or that a part of one of the types ``shared`` has."""
    while (
        part in _RESERVED
        or keyword.iskeyword(part)
        or (hasattr(owner, part) and type(getattr(owner, part)) not in shared)
    ):
        part += "_"
    return part


def _argument(name: str, taken: set[str]) -> str:
    """``name`` as the name of an argument in Python, another one each time."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    if plain[:1].isdigit() or keyword.iskeyword(plain) or not plain:
        plain = f"_{plain}"
    while plain in taken:
        plain += "_"
    taken.add(plain)
    return plain


def _attribute(attribute: AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return list(value) if attribute.type in (AttributeProto.INTS, AttributeProto.FLOATS) else value


def _constant(node: OnnxNode) -> Tensor:
    kinds = list(node.attributes)
    node.require(len(kinds) == 1 and (kinds[0] == "value" or kinds[0] in _PLAIN), f"a constant of {kinds}")
    value: Any = node.attributes[kinds[0]]
    return torch.tensor(value, dtype=_PLAIN[kinds[0]], device="cpu") if kinds[0] in _PLAIN else tensor_of(value)


def _declared(value: Any) -> list[int]:
    """The sizes of an input as the file has them, 0 for those that are open; empty where it says nothing."""
    return [d.dim_value for d in value.type.tensor_type.shape.dim]
