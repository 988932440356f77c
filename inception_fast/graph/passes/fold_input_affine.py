"""Folds the normalisation of the network's input into the convolutions that read it.

Before::

    a = Affine(x; s, t)                 # x * s + t per channel, no ReLU
    y = Conv2d(a; W, b)                 # no padding

After::

    y = Conv2d(x; W', b')

Algebra: ``sum_{c,p} W[o,c,p] (s[c] x[c,p] + t[c]) + b[o]`` is ``sum_{c,p} (W[o,c,p] s[c]) x[c,p] + b'[o]`` with
``b'[o] = b[o] + sum_{c,p} W[o,c,p] t[c]``, in float64.

Conditions: every reader of the affine is a convolution without any padding, the caller does not see its value, and
``W'`` fits in half precision if ``W`` does. And the affine is no exact subtraction from the network's input, such as
``x - 127.5`` or ``2 * x - 1``: of an image with little contrast it leaves small differences with all their digits, and
the sums of the folded form, of large products that cancel, would not. ``x * 0.458 - 0.03`` has lost them itself.
Padding is zero *behind* the affine, so at the border the sum over ``t`` would run over fewer pixels, and the result
would be another. What produces ``x`` does not matter: the network's input, or a resize of it.
"""

from __future__ import annotations

from dataclasses import replace

from inception_fast.graph import ir
from inception_fast.graph.edit import Edit
from inception_fast.graph.rewrite import moves_input, overflows


def fold_input_affine(graph: ir.Graph) -> ir.Graph:
    """A graph in which no Affine is read by unpadded convolutions alone."""
    while foldable := [n for n in graph.of_kind(ir.Affine) if _obstacle(graph, n) is None]:
        graph = _fold(graph, foldable[-1])
    return graph


def why_not(graph: ir.Graph) -> tuple[str, ...]:
    """Why each Affine that a convolution reads is still there."""
    return tuple(
        f"{node.origin or node.name}: {_obstacle(graph, node)}"
        for node in graph.of_kind(ir.Affine)
        if any(isinstance(reader.op, ir.Conv2d) for reader in graph.consumers[node.name])
    )


def _obstacle(graph: ir.Graph, node: ir.Node) -> str | None:
    assert isinstance(node.op, ir.Affine)
    if not node.op.is_linear:
        return "has an activation"
    if node.name in graph.outputs:
        return "is an output of the network"
    if moves_input(graph, node, Edit(graph).param):
        return "subtracts from the input before anything is rounded; sums over folded weights would lose digits"
    for reader in graph.consumers[node.name]:
        where = reader.origin or reader.name
        if not isinstance(reader.op, ir.Conv2d):
            return f"is read by {reader.op.kind} {where}"
        if node.name in reader.inputs[1:]:
            return f"is a residual of {where}"
        if any(reader.op.padding):
            return f"{where} pads with {max(reader.op.padding)} zeros, which the affine does not move"
        scale, shift = (graph.params[name].detach().double() for name in (node.op.scale, node.op.shift))
        if overflows(graph.params[reader.op.weight].detach().double(), scale.view(1, -1, 1, 1)):
            return f"the weights of {where} would overflow half precision"
        if shift.isinf().any():
            return "moves by infinity, of which sums over the weights are not numbers"
    return None


def _fold(graph: ir.Graph, node: ir.Node) -> ir.Graph:
    edit = Edit(graph)
    assert isinstance(node.op, ir.Affine)
    scale, shift = edit.param(node.op.scale), edit.param(node.op.shift)
    for reader in graph.consumers[node.name]:
        op = reader.op
        assert isinstance(op, ir.Conv2d)
        weight = edit.param(op.weight)
        offset = (weight.sum((2, 3)) * shift).sum(1)
        folded = replace(
            op,
            weight=edit.add_param(f"{reader.name}.weight", weight * scale.view(1, -1, 1, 1)),
            bias=edit.add_param(f"{reader.name}.bias", offset if op.bias is None else edit.param(op.bias) + offset),
        )
        edit.put(reader.name, folded, (node.inputs[0], *reader.inputs[1:]), reader.origin)
    return edit.finish()
