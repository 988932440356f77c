"""Graphs in graphs, such as the bodies of ``torch.utils.checkpoint``, which change nothing about inference."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

_WRAPPERS = (torch.ops.higher_order.tag_activation_checkpoint, torch.ops.higher_order.invoke_subgraph)


def inlined(gm: fx.GraphModule) -> fx.GraphModule:
    """``gm``, or a copy with the operators of checkpointed and nested regions in their places."""
    if not any(map(_is_wrapper, gm.graph.nodes)):
        return gm
    graph = fx.Graph()
    result = _copy(gm, graph, None)
    graph.output(result)
    return fx.GraphModule(gm, graph)


def _is_wrapper(node: fx.Node) -> bool:
    return node.op == "call_function" and node.target in _WRAPPERS


def _copy(gm: fx.GraphModule, graph: fx.Graph, arguments: list[Any] | None, prefix: str = "") -> Any:
    """Copies the operators of ``gm`` to the end of a graph, and returns what ``gm`` returns.

    Args:
        arguments: the values of its placeholders; None to make new ones.
    """
    given = None if arguments is None else iter(arguments)
    made: dict[fx.Node, Any] = {}

    def new(value: Any) -> Any:
        return fx.map_arg(value, lambda n: made[n])

    for node in gm.graph.nodes:
        if node.op == "output":
            return new(node.args[0])
        if node.op == "placeholder" and given is not None:
            made[node] = next(given)
        elif _is_wrapper(node):
            body, *rest = node.args
            if node.target is torch.ops.higher_order.invoke_subgraph:
                # A name that says which bodies are alike.
                rest = rest[1:]
            made[node] = _copy(getattr(gm, body.target), graph, new(rest), f"{prefix}{body.target}.")
        elif node.target is operator.getitem and isinstance(made[node.args[0]], tuple | list):
            made[node] = made[node.args[0]][node.args[1]]
        else:
            made[node] = graph.node_copy(node, made.__getitem__)
            if node.op in ("get_attr", "call_module"):
                made[node].target = prefix + str(node.target)
    raise AssertionError("a graph without an output")
