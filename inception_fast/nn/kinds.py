"""What a module is, told from the Graph that was captured from it."""

from __future__ import annotations

from typing import Literal

from inception_fast.graph import ir
from inception_fast.graph.conv_kinds import orientation

Kind = Literal["ConvBNReLU", "FactorizedConv", "InceptionBlock", "ResidualBlock", "Network", "Other"]

DESCRIPTIONS: dict[Kind, str] = {
    "ConvBNReLU": "one convolution, perhaps a batch normalisation and an activation behind it",
    "FactorizedConv": "a 1xn convolution and an nx1 behind it or the other way round, each as in ConvBNReLU",
    "InceptionBlock": "branches that end in one concatenation",
    "ResidualBlock": "branches that are added to the input",
    "Network": "several layers or blocks",
    "Other": "no convolution",
}


def kind_of(graph: ir.Graph) -> Kind:
    """The narrowest kind that describes the network; see DESCRIPTIONS."""
    convolutions = list(graph.of_kind(ir.Conv2d))
    if not convolutions:
        return "Other"
    end = _before_activation(graph, graph.outputs[0])
    if len(graph.outputs) > 1 or any(graph.of_kind(ir.Flatten, ir.Linear)):
        return "Network"
    if _is_chain(graph, (ir.Conv2d, ir.BatchNorm, ir.ReLU, ir.Activate)):
        turns = {orientation(graph, c) for c in convolutions}
        if len(convolutions) == 1:
            return "ConvBNReLU"
        return "FactorizedConv" if len(convolutions) == 2 and turns == {"row", "column"} else "Network"
    if isinstance(end.op, ir.Add) and graph.input.name in end.inputs and len(list(graph.of_kind(ir.Add))) == 1:
        return "ResidualBlock"
    if isinstance(end.op, ir.Concat) and not _feeds_layers(graph):
        return "InceptionBlock"
    return "Network"


def _before_activation(graph: ir.Graph, value: str) -> ir.Node:
    node = graph.by_name[value]
    while isinstance(node.op, ir.ReLU | ir.Activate | ir.Affine):
        node = graph.by_name[node.inputs[0]]
    return node


def _is_chain(graph: ir.Graph, kinds: tuple[type[ir.Op], ...]) -> bool:
    """Every value is read once, by one op of ``kinds``."""
    return all(
        isinstance(node.op, kinds) and node.inputs == (before.name,)
        for before, node in zip(graph.nodes, graph.nodes[1:], strict=False)
    )


def _feeds_layers(graph: ir.Graph) -> bool:
    """Whether a concatenation is read by anything but another one."""
    return any(
        isinstance(graph.by_name[value].op, ir.Concat) and not isinstance(node.op, ir.Concat | ir.ReLU)
        for node in graph.nodes
        for value in node.inputs
    )
