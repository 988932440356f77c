"""The kinds of convolution that passes look for."""

from __future__ import annotations

from typing import Literal

from inception_fast.graph import ir


def is_plain_1x1(graph: ir.Graph, node: ir.Node) -> bool:
    """True for a 1x1 convolution of stride 1 without padding and residual: a matrix product over pixels."""
    op = node.op
    return (
        isinstance(op, ir.Conv2d)
        and kernel_size(graph, op) == (1, 1)
        and op.stride == (1, 1)
        and not any(op.padding)
        and len(node.inputs) == 1
    )


def orientation(graph: ir.Graph, node: ir.Node) -> Literal["row", "column"] | None:
    """``row`` for a 1xn convolution, ``column`` for nx1 (n > 1), None for everything else."""
    if not isinstance(node.op, ir.Conv2d):
        return None
    kh, kw = kernel_size(graph, node.op)
    if kh == 1 < kw:
        return "row"
    return "column" if kw == 1 < kh else None


def kernel_size(graph: ir.Graph, op: ir.Conv2d) -> ir.Pair:
    """(rows, columns) of the kernel's window."""
    kh, kw = graph.params[op.weight].shape[2:]
    return kh, kw
