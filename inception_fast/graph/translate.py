"""From the ATen graph that ``torch.export`` gives to the nodes of a Graph.

The walk keeps, for every ATen node, what it stands for: a value that depends on the input
(:class:`~inception_fast.graph.builder.Data`), a constant, or a piece of a pattern that only its reader can place.
Whatever depends on parameters alone is computed here, in float64.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import SymBool, SymFloat, SymInt, Tensor, fx
from torch.fx.experimental.symbolic_shapes import statically_known_true

from inception_fast.errors import UnsupportedOpError
from inception_fast.graph.aten import ANY_ORDER, RULES
from inception_fast.graph.builder import Builder, CannotExpress, Const, Data, Place, Symbolic

_FRAME = re.compile(r'File "(.*)", line (\d+)')
_NOT_THE_USERS = {Path(torch.__file__).parent, Path(__file__).parents[1] / "artefacts"}
"""Code of these is not where a model was written."""
_CONTAINERS = ("torch.nn.modules.container.", "torch.nn.modules.module.")
ALIASES = {
    "clip.default": "clamp.default",
    "concat.default": "cat.default",
    "concatenate.default": "cat.default",
    "divide.Scalar": "div.Scalar",
    "divide.Tensor": "div.Tensor",
    "linalg_matmul.default": "matmul.default",
    "max.other": "maximum.default",
    "min.other": "minimum.default",
    "multiply.Scalar": "mul.Scalar",
    "multiply.Tensor": "mul.Tensor",
    "negative.default": "neg.default",
    "special_expit.default": "sigmoid.default",
    "special_log_softmax.default": "log_softmax.int",
    "special_softmax.default": "softmax.int",
    "subtract.Scalar": "sub.Scalar",
    "subtract.Tensor": "sub.Tensor",
    "true_divide.Scalar": "div.Scalar",
    "true_divide.Tensor": "div.Tensor",
}
"""PyTorch's second names, which take the same arguments in the same order."""


class Translator:
    """Walks the functional ATen graph of one exported model.

    Args:
        constants: parameters, buffers and lifted constants by placeholder name.
        dtype: of the input unless that is bytes; every value must keep it.
        known: what nodes are known to stand for.
        layout: of the input; None for NCHW.
    """

    def __init__(
        self,
        constants: Mapping[str, Const],
        dtype: torch.dtype,
        known: Mapping[fx.Node, Any] | None = None,
        layout: Literal["NHWC"] | None = None,
    ) -> None:
        self.builder = Builder(reserved={c.name for c in constants.values() if c.name})
        self.dtype = dtype
        self._constants, self._layout = constants, layout
        self._values: dict[fx.Node, Any] = dict(known or {})
        self._batch: int | SymInt = 0

    def run(self, graph: fx.Graph, wanted: list[fx.Node], entry: fx.Node | None = None) -> list[Any]:
        """Translates what ``wanted`` need, and returns what they stand for.

        Args:
            entry: the node whose value is the Graph's input; by default the one placeholder that is no constant.
        """
        needed = _ancestors(wanted, entry)
        for node in graph.nodes:
            if entry is not None and node is entry:
                self.enter(node)
            elif node.op == "placeholder":
                if node.name in self._constants:
                    self._values[node] = self._constants[node.name]
                elif entry is None:
                    self.enter(node)
            elif node in needed:
                self.take(node)
        return [self._values[node] for node in wanted]

    def enter(self, node: fx.Node) -> None:
        """Makes the value of ``node``, ``[N, C, H, W]`` or as the layout says, the Graph's input."""
        fake = node.meta["val"]
        self._batch = fake.shape[0]
        shape = tuple(int(s) for s in fake.shape[1:])
        order = (0, 1, 2) if self._layout is None else (1, 2, 0)
        self._values[node] = self.builder.input(shape, order, fake.dtype is torch.uint8)

    def take(self, node: fx.Node) -> Any:
        """What an ATen node stands for whose inputs are known.

        Raises:
            UnsupportedOpError: the Graph cannot express it.
        """
        self._values[node] = self._translate(node)
        return self._values[node]

    def knows(self, node: fx.Node) -> bool:
        """Whether it is known what ``node`` stands for."""
        return node in self._values

    def refuse(self, node: fx.Node, reason: str) -> UnsupportedOpError:
        """The error for an ATen node that cannot be served."""
        return UnsupportedOpError(_op_name(node), place_of(node).origin, source_line(node), reason)

    def _translate(self, node: fx.Node) -> Any:
        fake = node.meta.get("val")
        if is_number(node):
            return fake
        args = [self._value(a) for a in _bound_arguments(node)]
        try:
            result = self._apply(node, args)
        except CannotExpress as reason:
            raise self.refuse(node, str(reason)) from None
        if isinstance(result, Data):
            self._check(node, fake, result)
        return result

    def _apply(self, node: fx.Node, args: list[Any]) -> Any:
        if node.target is operator.getitem:
            results, index = args
            if index >= len(results):
                raise self.refuse(node.all_input_nodes[0], "only its first result is supported")
            return results[index]
        if not any(isinstance(leaf, Symbolic) for leaf in _leaves(args)):
            if any(isinstance(leaf, SymInt | SymFloat | SymBool) for leaf in _leaves(args)):
                raise CannotExpress("its result depends on the number of images")
            return self._constant(node)
        name = _op_name(node).removeprefix("aten.")
        rule = RULES.get(f"aten.{ALIASES.get(name, name)}")
        if rule is None:
            raise CannotExpress("the Inception family has no such operation")
        found = [leaf for leaf in _leaves(args) if isinstance(leaf, Symbolic)]
        turned = any(isinstance(leaf, Data) and leaf.is_turned for leaf in found)
        if turned and (len(found) > 1 or rule not in ANY_ORDER):
            raise CannotExpress("it is applied to images whose channels are not their first dimension")
        return rule(self.builder, place_of(node), *args)

    def _check(self, node: fx.Node, fake: Any, result: Data) -> None:
        if not fake.shape or not statically_known_true(fake.shape[0] == self._batch):
            raise self.refuse(node, "it mixes the images of a batch")
        if fake.dtype != self.dtype and not self._is_of_bytes(fake.dtype, result):
            raise self.refuse(node, f"it changes the type from {_plain(self.dtype)} to {_plain(fake.dtype)}")
        assert tuple(fake.shape[1:]) == result.shape, f"{node.format_node()}: {result.shape} in place of {fake.shape}"

    def _is_of_bytes(self, dtype: torch.dtype, result: Data) -> bool:
        """Whether a value of a type of its own is bytes of the input as they are, or numbers made of them that are at
        least float32's.
        """
        if not self.builder.is_bytes(result.source):
            return False
        if dtype is torch.uint8:
            return result.scale is None
        return dtype in (torch.float32, torch.float64)

    def _value(self, argument: Any) -> Any:
        def look_up(a: Any) -> Any:
            return self._values[a] if isinstance(a, fx.Node) else a

        return fx.node.map_aggregate(argument, look_up)

    def _constant(self, node: fx.Node) -> Any:
        """Evaluates an op of parameters and literals, floating-point tensors in float64."""
        target: Any = node.target
        if torch.Tag.nondeterministic_seeded in target.tags:
            raise CannotExpress("its result is random")

        def tensor(argument: Any) -> Any:
            value = self._values[argument] if isinstance(argument, fx.Node) else argument
            if isinstance(value, torch.device):
                return torch.device("cpu")
            if not isinstance(value, Const):
                return value
            on_cpu = value.tensor.detach().cpu()
            return on_cpu.double() if on_cpu.is_floating_point() else on_cpu

        def wrap(result: Any) -> Any:
            return Const(result) if isinstance(result, Tensor) else result

        args: Any = fx.node.map_aggregate(node.args, tensor)
        kwargs: Any = fx.node.map_aggregate(node.kwargs, tensor)
        return fx.node.map_aggregate(target(*args, **kwargs), wrap)


def moves_axes(graph: fx.Graph) -> bool:
    """Whether anything in a program permutes dimensions."""
    names = ("aten.permute.", "aten.transpose.", "aten.movedim.", "aten.swapaxes.", "aten.moveaxis.")
    return any(node.op == "call_function" and _op_name(node).startswith(names) for node in graph.nodes)


def place_of(node: fx.Node) -> Place:
    """The innermost module that called an ATen op."""
    stack = node.meta.get("nn_module_stack") or {}
    if not stack:
        return Place("")
    path, kind = list(stack.values())[-1]
    kind = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    is_layer = bool(path) and kind.startswith("torch.nn.modules.") and not kind.startswith(_CONTAINERS)
    # A module called twice shows up as 'conv' and 'conv@1'.
    return Place(re.sub(r"@\d+", "", path), is_layer)


def source_line(node: fx.Node) -> str:
    """``file:line`` of the innermost frame outside PyTorch, ``''`` where none was recorded."""
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    own = [
        (file, line)
        for file, line in frames
        if _NOT_THE_USERS.isdisjoint(Path(file).parents) and not file.startswith("<")
    ]
    return "{}:{}".format(*own[-1]) if own else ""


def _op_name(node: fx.Node) -> str:
    return str(node.target)


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _bound_arguments(node: fx.Node) -> list[Any]:
    """The arguments in the order of the op's schema, defaults filled in."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return list(node.args)
    given = dict(zip((a.name for a in schema.arguments), node.args, strict=False)) | dict(node.kwargs)
    return [given.get(a.name, a.default_value) for a in schema.arguments]


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def is_number(node: fx.Node) -> bool:
    """Whether a node's value is a number that depends on the sizes of the inputs."""
    return isinstance(node.meta.get("val"), SymInt | SymFloat | SymBool)


def _ancestors(nodes: list[fx.Node], entry: fx.Node | None) -> set[fx.Node]:
    """What ``nodes`` are computed from, ``entry`` and numbers being given."""
    found: set[fx.Node] = set()
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            if node is not entry and not is_number(node):
                pending.extend(node.all_input_nodes)
    return found
