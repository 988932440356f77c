"""Which operators of an exported program become engines.

A region has one entry, a tensor of images, and everything that follows from it and from constants alone as far as a
Graph can express it. So nothing comes back into a region that has left it: what leaves is computed before, by whatever
kind of operator, and none of that has only the entry behind it. The largest such regions are found from the inputs on;
what lies between them stays PyTorch's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.symbolic_shapes import is_concrete_int

from inception_fast.errors import InceptionFastError, UnsupportedOpError
from inception_fast.graph import ir
from inception_fast.graph.builder import Builder, Const, Data, Symbolic
from inception_fast.graph.capture import DTYPES, Captured, output_name
from inception_fast.graph.structure import TENSOR, OutputStructure
from inception_fast.graph.translate import Translator, is_number
from inception_fast.partition.worth import Work, objection, work_of

_APART = "it does not follow from one tensor of images alone"
_NO_CONVOLUTION = "there is no convolution to make faster"


@dataclass
class Region:
    """Operators that become one engine.

    Attributes:
        entry: the node whose value they start from, ``[N, C, H, W]``.
        members: what each of them stands for in a Graph.
        outputs: those whose values are read outside.
    """

    entry: fx.Node
    members: dict[fx.Node, Any]
    builder: Builder
    work: Work
    outputs: list[fx.Node] = field(default_factory=list)

    def gives(self, node: fx.Node) -> bool:
        """Whether the value of a member can be an output as it is: all of what an operator of the Graph has computed,
        and not the entry seen in some way.
        """
        value = self.members[node]
        if not isinstance(value, Data) or value.is_turned or value.source == self.builder.nodes[0].name:
            return False
        whole = (value.start, value.count) == (0, self.builder.shapes[value.source][0])
        return whole and (len(value.shape) == 1 or value.shape == self.builder.natural_shape(value))

    def capture(self, constants: Mapping[str, Const]) -> Captured:
        """The Graph of the region."""
        dtype = self.entry.meta["val"].dtype
        with torch.inference_mode(False), torch.no_grad():
            translator = Translator(constants, dtype)
            values = translator.run(self.entry.graph, self.outputs, self.entry)
            names = tuple(output_name(translator, n, v) for n, v in zip(self.outputs, values, strict=True))
        graph = ir.Graph(tuple(translator.builder.nodes), names, translator.builder.params)
        return Captured(graph, OutputStructure((TENSOR,) * len(names)), dtype)


@dataclass(frozen=True)
class Found:
    """Attributes:
    regions: in the order of their entries, without outputs yet.
    reasons: why an operator is in none, where it was tried.
    small: entries of regions that would gain nothing, and why.
    """

    regions: tuple[Region, ...]
    reasons: dict[fx.Node, str]
    small: dict[fx.Node, str]


def find_regions(graph: fx.Graph, constants: Mapping[str, Const]) -> Found:
    """The regions of a functional ATen graph.

    Args:
        constants: parameters, buffers and lifted constants by placeholder name.
    """
    with torch.inference_mode(False), torch.no_grad():
        return _Finder(graph, constants).found()


class _Finder:
    def __init__(self, graph: fx.Graph, constants: Mapping[str, Const]) -> None:
        self._nodes, self._constants = list(graph.nodes), constants
        self._claimed: set[fx.Node] = set()
        self._reasons: dict[fx.Node, str] = {}
        self._fixed = self._values_of_constants()
        self._leading = self._before_convolutions()

    def found(self) -> Found:
        regions, small = [], {}
        for node in self._nodes:
            if node in self._claimed or node not in self._leading or not self._is_entry(node):
                continue
            region = self._grow(node)
            reason = objection(region.work)
            if reason is None:
                regions.append(region)
                self._claimed |= region.members.keys()
            elif region.work.convolutions:
                small[node] = reason
                self._reasons.update(dict.fromkeys(region.members, reason))
        for node in self._nodes:
            if node.op == "call_function" and node not in self._claimed:
                self._reasons.setdefault(node, _APART if self._leading else _NO_CONVOLUTION)
        return Found(tuple(regions), self._reasons, small)

    def _values_of_constants(self) -> dict[fx.Node, Any]:
        """What follows from parameters and literals alone."""
        known: dict[fx.Node, Any] = {n: self._constants[n.name] for n in self._nodes if n.name in self._constants}
        translator = Translator(self._constants, torch.float32, known)
        for node in self._nodes:
            if node.op == "call_function" and not is_number(node) and all(n in known for n in node.all_input_nodes):
                try:
                    known[node] = translator.take(node)
                except UnsupportedOpError as error:
                    self._reasons[node] = error.reason
        return known

    def _before_convolutions(self) -> set[fx.Node]:
        """Everything that a convolution follows from."""
        pending = [n for n in self._nodes if n.op == "call_function" and "conv" in str(n.target)]
        found: set[fx.Node] = set()
        while pending:
            node = pending.pop()
            if node not in found:
                found.add(node)
                pending += node.all_input_nodes
        return found

    def _is_entry(self, node: fx.Node) -> bool:
        value = node.meta.get("val")
        if node in self._fixed or node.op not in ("placeholder", "call_function") or not isinstance(value, Tensor):
            return False
        if value.dim() != 4 or value.dtype not in DTYPES or value.layout is not torch.strided:
            return False
        return all(is_concrete_int(s) and s > 0 for s in value.shape[1:])

    def _grow(self, entry: fx.Node) -> Region:
        translator = Translator(self._constants, entry.meta["val"].dtype, self._fixed)
        translator.enter(entry)
        members: dict[fx.Node, Any] = {}
        for node in self._nodes:
            if is_number(node):
                translator.take(node)
                continue
            if node.op != "call_function" or node in self._claimed or translator.knows(node) or not node.users:
                continue
            if not all(map(translator.knows, node.all_input_nodes)):
                continue
            try:
                value = translator.take(node)
            except InceptionFastError as error:
                self._reasons.setdefault(node, getattr(error, "reason", str(error)))
                continue
            if any(isinstance(v, Symbolic) for v in (value if isinstance(value, tuple | list) else (value,))):
                members[node] = value
        return Region(entry, members, translator.builder, work_of(entry, members))
