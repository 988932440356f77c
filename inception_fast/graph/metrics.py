"""A Graph in numbers, for reports."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from inception_fast.graph import ir
from inception_fast.graph.shapes import infer_shape


@dataclass(frozen=True)
class Metrics:
    """What one image costs.

    Attributes:
        nodes: of every kind, the input among them.
        convolutions: launches of convolutions; a ConvPair is one.
        multiply_adds: of convolutions and linear layers, padding counted as if it were pixels.
        written: elements of activations written to memory.
        copies: tensors copied only to lie elsewhere: inputs of concats that are not in place, and Copy nodes.
    """

    nodes: int
    convolutions: int
    multiply_adds: int
    written: int
    copies: int


def measure(graph: ir.Graph) -> Metrics:
    """The metrics of a graph."""
    return Metrics(
        nodes=len(graph.nodes),
        convolutions=sum(1 for _ in graph.of_kind(ir.Conv2d, ir.ConvPair)),
        multiply_adds=sum(multiply_adds(graph, node) for node in graph.nodes),
        written=sum(written(graph, node) for node in graph.nodes),
        copies=sum(_copies(node) for node in graph.nodes),
    )


def multiply_adds(graph: ir.Graph, node: ir.Node) -> int:
    """Multiply-adds per image of a convolution of any kind or a linear layer; 0 for everything else."""
    outputs = prod(graph.shapes[node.name])
    match node.op:
        case ir.Conv2d():
            return outputs * _terms(graph, node.op)
        case ir.ConvPair(first, second):
            middle = prod(infer_shape(first, [graph.shapes[node.inputs[0]]], graph.params))
            return middle * _terms(graph, first) + outputs * _terms(graph, second)
        case ir.Linear(weight=weight):
            return outputs * graph.params[weight].shape[1]
        case ir.DepthwiseConv2d(weight=weight):
            return outputs * prod(graph.params[weight].shape[2:])
        case _:
            return 0


def written(graph: ir.Graph, node: ir.Node) -> int:
    """Elements per image that a node writes to memory."""
    match node.op:
        case ir.Input() | ir.Slice() | ir.Flatten() | ir.Concat(in_place=True):
            return 0
        case _:
            return prod(graph.shapes[node.name])


def _terms(graph: ir.Graph, op: ir.Conv2d) -> int:
    """Multiply-adds for one element of a convolution's result."""
    _, channels, height, width = graph.params[op.weight].shape
    return channels * (height * width if op.taps is None else len(op.taps))


def _copies(node: ir.Node) -> int:
    match node.op:
        case ir.Copy():
            return 1
        case ir.Concat(in_place=False):
            return len(node.inputs)
        case _:
            return 0
