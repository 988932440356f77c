"""What runs a partitioned model: an fx module that calls the engines and, between them, PyTorch's own operators."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.symbolic_shapes import statically_known_true

from inception_fast.errors import UnsupportedOpError
from inception_fast.graph.builder import Const
from inception_fast.graph.translate import is_number, place_of, source_line
from inception_fast.partition.regions import Region

_SUBSTITUTES: dict[Any, Any] = {
    # What an engine returns has other strides than what PyTorch would.
    torch.ops.aten.view.default: torch.ops.aten.reshape.default,
    torch.ops.aten._unsafe_view.default: torch.ops.aten.reshape.default,
    # The one in-place operator that a functional graph may have, see graph/functional.py.
    torch.ops.aten.relu_.default: torch.ops.aten.relu.default,
}
_NORM = torch.ops.aten._native_batch_norm_legit_no_training.default
"""Of its three results, only the first is ever read: the others are of use in training."""
_BY_STRIDES = (torch.ops.aten.as_strided.default, torch.ops.aten.as_strided_copy.default)
_FEW_CHANNELS = 4
"""Kernels read so many from images as they lie; of more, PyTorch changes the layout faster."""
_CHECKS = ("aten._assert_scalar.default", "aten._assert_async.msg", "aten._assert_async.default")
"""Operators without a result that a model may count on."""


class Layout:
    """Who computes what of an exported program.

    Attributes:
        regions: those that something outside reads, with their outputs.
        outside: nodes that PyTorch computes, in order; members of regions among them whose values are no outputs of an
            engine, such as views, and are computed again.

    Args:
        returned: what the model returns.
    """

    def __init__(
        self, graph: fx.Graph, returned: Sequence[fx.Node], regions: Sequence[Region], constants: Mapping[str, Const]
    ) -> None:
        self._home = {node: region for region in regions for node in region.members}
        self._fixed = _fixed(graph, constants)
        self._wanted: set[fx.Node] = set()
        self._outputs: set[fx.Node] = set()
        checks = [n for n in graph.nodes if str(n.target) in _CHECKS]
        self._want([*returned, *checks])
        for region in regions:
            region.outputs = [node for node in region.members if node in self._outputs]
        self.regions = [region for region in regions if region.outputs]
        self.outside = [node for node in graph.nodes if node in self._wanted]

    def _want(self, nodes: Sequence[fx.Node]) -> None:
        pending = list(nodes)
        while pending:
            node = pending.pop()
            if node in self._wanted or node in self._outputs:
                continue
            region = self._home.get(node)
            if region is not None and region.gives(node):
                self._outputs.add(node)
                pending.append(region.entry)
                continue
            self._wanted.add(node)
            pending += self.inputs(node)

    def inputs(self, node: fx.Node) -> list[fx.Node]:
        """What a node outside reads."""
        source = self.size_of(node)
        return [source[0]] if source else list(node.all_input_nodes)

    def size_of(self, node: fx.Node) -> tuple[fx.Node, int] | None:
        """Whose size a number is, and in which dimension, where it is that of a member of a region: the entry has the
        same batch.
        """
        if node.target is not torch.ops.aten.sym_size.int:
            return None
        source, dimension = node.args
        assert isinstance(source, fx.Node) and isinstance(dimension, int)
        region = self._home.get(source)
        if region is None:
            return None
        assert statically_known_true(region.entry.meta["val"].shape[0] == source.meta["val"].shape[dimension])
        return region.entry, 0

    @property
    def foreign(self) -> list[fx.Node]:
        """The operators of PyTorch's that compute something at each call."""
        return [
            n
            for n in self.outside
            if n.op == "call_function"
            and n.target is not operator.getitem
            and not self.is_constant(n)
            and not is_number(n)
        ]

    def is_constant(self, node: fx.Node) -> bool:
        """Whether a node's value is the same at every call."""
        return node in self._fixed


def _fixed(graph: fx.Graph, constants: Mapping[str, Const]) -> set[fx.Node]:
    """Nodes whose values follow from parameters and literals alone."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" and node.name in constants:
            found.add(node)
        evaluated = node.op == "call_function" and not is_number(node) and not _is_random(node)
        if evaluated and found.issuperset(node.all_input_nodes):
            found.add(node)
    return found


def _is_random(node: fx.Node) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def assemble(
    program: torch.export.ExportedProgram,
    layout: Layout,
    constants: Mapping[str, Const],
    returned: Sequence[fx.Node],
    engines: Sequence[nn.Module],
) -> fx.GraphModule:
    """The module of a program: takes its tensors in order, and returns those (and numbers) of ``returned`` in order.

    Args:
        engines: of ``layout.regions``, each a function of the entry that returns a tuple of the outputs.

    Raises:
        UnsupportedOpError: an operator depends on how its input lies in memory.
    """
    with torch.inference_mode(False), torch.no_grad():
        return _Writer(program, layout, constants, engines).write(returned)


class _Writer:
    def __init__(
        self,
        program: torch.export.ExportedProgram,
        layout: Layout,
        constants: Mapping[str, Const],
        engines: Sequence[nn.Module],
    ) -> None:
        self._source, self._layout, self._constants = program.graph_module, layout, constants
        self._root, self._graph = nn.Module(), fx.Graph()
        self._new: dict[fx.Node, fx.Node] = {}
        self._values: dict[fx.Node, Any] = {}
        self._first: dict[fx.Node, tuple[int, Any]] = {}
        for index, (region, engine) in enumerate(zip(layout.regions, engines, strict=True)):
            self._root.add_module(f"island{index}", engine)
            self._first[next(iter(region.members))] = index, region

    def write(self, returned: Sequence[fx.Node]) -> fx.GraphModule:
        wanted = set(self._layout.outside)
        for node in self._source.graph.nodes:
            if node.op == "placeholder" and node.name not in self._constants:
                if isinstance(node.meta.get("val"), Tensor):
                    self._new[node] = self._graph.placeholder(node.name)
                continue
            if node in self._first:
                self._call_engine(*self._first[node])
            if node in wanted and node.op != "output":
                self._copy(node)
        self._graph.output(tuple(self._returned(node) for node in returned))
        module = fx.GraphModule(self._root, self._graph, "Rest")
        return module.eval()

    def _call_engine(self, index: int, region: Region) -> None:
        images = self._node(region.entry)
        if region.entry.meta["val"].shape[1] > _FEW_CHANNELS:
            layout: dict[str, Any] = {"memory_format": torch.channels_last}
            images = self._graph.call_function(torch.ops.aten.contiguous.default, (images,), layout)
        results = self._graph.call_module(f"island{index}", (images,))
        for place, output in enumerate(region.outputs):
            self._new[output] = self._graph.call_function(operator.getitem, (results, place))

    def _copy(self, node: fx.Node) -> None:
        if self._layout.is_constant(node):
            return
        if node.op == "get_attr":
            setattr(self._root, str(node.target), getattr(self._source, str(node.target)))
        size = self._layout.size_of(node)
        if size is not None:
            self._new[node] = self._graph.call_function(node.target, (self._node(size[0]), size[1]))  # type: ignore[arg-type]
            return
        if node.target in _BY_STRIDES:
            reason = "it depends on how its input lies in memory, which engines lay out in another way"
            raise UnsupportedOpError(str(node.target), place_of(node).origin, source_line(node), reason)
        if node.target is operator.getitem and node.args[0].target is _NORM:  # type: ignore[union-attr]
            self._new[node] = self._node(node.args[0])  # type: ignore[arg-type]
            return
        new = self._graph.node_copy(node, self._node)
        if node.target is _NORM:
            *operands, momentum, eps = new.args
            new.target, new.args = torch.ops.aten.batch_norm.default, (*operands, False, momentum, eps, False)
        new.target = _SUBSTITUTES.get(node.target, new.target)
        self._new[node] = new

    def _node(self, node: fx.Node) -> fx.Node:
        if node not in self._new:
            self._new[node] = self._constant(node)
        return self._new[node]

    def _constant(self, node: fx.Node) -> fx.Node:
        """A constant as a buffer, whatever it was computed from."""
        value = self._evaluate(node)
        if not isinstance(value, Tensor):
            return value
        name = f"constant{len(dict(self._root.named_buffers(recurse=False)))}"
        self._root.register_buffer(name, value.detach().clone())
        return self._graph.get_attr(name)

    def _evaluate(self, node: fx.Node) -> Any:
        if node.name in self._constants:
            return self._constants[node.name].tensor
        if node not in self._values:
            args, kwargs = fx.node.map_aggregate((node.args, node.kwargs), self._argument)  # type: ignore[misc]
            self._values[node] = node.target(*args, **kwargs)  # type: ignore[operator]
        return self._values[node]

    def _argument(self, argument: Any) -> Any:
        return self._evaluate(argument) if isinstance(argument, fx.Node) else argument

    def _returned(self, node: fx.Node) -> fx.Node:
        new = self._node(node)
        # The caller may write to what it is given.
        return self._graph.call_function(torch.ops.aten.clone.default, (new,)) if new.op == "get_attr" else new
