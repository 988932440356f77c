"""Folds batch normalisation and per-channel affine maps into the convolution or linear layer in front of them.

Before::

    c = Conv2d(x; W, b)                 # or DepthwiseConv2d, Linear; b may be absent
    y = BatchNorm(c; mean, var, gamma, beta, eps)

After::

    y = Conv2d(x; W', b')

Algebra: inference-mode batch normalisation is ``y = s * c + t`` per channel with ``s = gamma / sqrt(var + eps)`` and
``t = beta - mean * s`` (Ioffe and Szegedy 2015, section 3.1), and ``s * (W * x + b) + t = (s W) * x + (s b + t)``. An
Affine is the same map with ``s`` and ``t`` given. All in float64, ``eps`` as it is: trained variances go down to
1e-14.

A BatchNorm or Affine of ``Concat(a, b)`` becomes ``Concat(BatchNorm(a), BatchNorm(b))``, each with its own channels,
where neither the concat nor what it joins has another reader and all of that can take its part in: the groups of a
grouped convolution.

Conditions: the convolution's value has no other reader, it has no residual and no activation, and ``W'`` fits in half
precision if ``W`` does: a variance of zero and a small ``eps`` make ``s`` a million. An Affine without activation
composes with the Affine behind it in the same way, in float32, unless it moves the network's input without rounding
(see :mod:`inception_fast.graph.passes.fold_input_affine`). Any other BatchNorm becomes an Affine; one of the network's
input two, the first of which subtracts the mean. The map's own activation moves with it.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from inception_fast.graph import ir
from inception_fast.graph.edit import Edit
from inception_fast.graph.rewrite import LARGEST_SINGLE, moves_input, overflows, powers_of_two


def fold_batchnorm(graph: ir.Graph) -> ir.Graph:
    """A graph without BatchNorm, and with an Affine only where nothing in front of it can take it."""
    graph = _split_over_concats(graph)
    edit = Edit(graph)
    for node in graph.of_kind(ir.BatchNorm, ir.Affine):
        scale, shift = _scale_shift(edit, node.op)
        if _obstacle(edit, node) is None:
            producer = edit.producer(node.inputs[0])
            op = _scaled(edit, node.name, producer.op, scale, shift)
            edit.put(node.name, _with_activation_of(node.op, op), producer.inputs, producer.origin or node.origin)
        elif isinstance(node.op, ir.BatchNorm):
            inputs, op = node.inputs, _affine(edit, node.name, scale, shift)
            mean = edit.param(node.op.mean)
            if inputs[0] == graph.input.name and mean.count_nonzero():
                centred = _affine(edit, f"{node.name}.centred", torch.ones_like(mean), -mean)
                inputs = (edit.put(edit.fresh(f"{node.name}.centred"), centred, inputs, node.origin),)
                op = _affine(edit, node.name, scale, shift + mean * scale)
            edit.put(node.name, op, inputs, node.origin)
    return edit.finish()


def _split_over_concats(graph: ir.Graph) -> ir.Graph:
    """A graph in which what follows a concat of convolutions follows each of them."""
    edit = Edit(graph)
    for node in graph.of_kind(ir.BatchNorm, ir.Affine):
        concat = graph.by_name[node.inputs[0]]
        if isinstance(concat.op, ir.Concat) and graph.is_private(concat.name) and _all_take(graph, node, concat):
            scale, shift = _scale_shift(edit, node.op)
            parts, start = [], 0
            for value in concat.inputs:
                name, end = edit.fresh(f"{value}_affine"), start + graph.shapes[value][0]
                affine = _affine(edit, name, scale[start:end], shift[start:end])
                parts.append(edit.put(name, _with_activation_of(node.op, affine), (value,), node.origin))
                start = end
            edit.put(node.name, concat.op, tuple(parts), concat.origin or node.origin)
    return edit.finish()


def _all_take(graph: ir.Graph, node: ir.Node, concat: ir.Node) -> bool:
    """Whether each part of a concat can take in its part of what follows."""
    if isinstance(node.op, ir.Affine) and node.op.slope is not None:
        return False
    producers = [graph.by_name[value] for value in concat.inputs]
    return all(graph.is_private(p.name) and _takes_nothing(p) is None for p in producers)


def why_not(graph: ir.Graph) -> tuple[str, ...]:
    """Why each BatchNorm or Affine of a folded graph is still there."""
    edit = Edit(graph)
    reasons = ((n, _obstacle(edit, n)) for n in graph.of_kind(ir.BatchNorm, ir.Affine))
    return tuple(f"{n.origin or n.name}: {reason}" for n, reason in reasons if reason)


def _obstacle(edit: Edit, node: ir.Node) -> str | None:
    value = node.inputs[0]
    producer = edit.producer(value)
    if (reason := _takes_nothing(producer)) is not None:
        return reason
    if not edit.old.is_private(value):
        return f"%{value} has other readers"
    scale, _ = _scale_shift(edit, node.op)
    if isinstance(producer.op, ir.Affine):
        if moves_input(edit.old, producer, edit.param) and not powers_of_two(scale):
            return "follows an exact subtraction from the input, whose digits it would lose"
        vectors = (edit.param(producer.op.scale), edit.param(producer.op.shift))
        fits = not any(overflows(vector, scale, LARGEST_SINGLE) for vector in vectors)
    else:
        assert isinstance(producer.op, ir.Conv2d | ir.DepthwiseConv2d | ir.Linear)
        fits = not overflows(edit.param(producer.op.weight).flatten(1), scale.view(-1, 1))
    return None if fits else "the weights that folding makes would overflow half precision"


def _takes_nothing(producer: ir.Node) -> str | None:
    """Why a node cannot take in what follows, whoever reads it."""
    match producer.op:
        case ir.Conv2d(segments=segments):
            if len(producer.inputs) > 1:
                return "the convolution in front of it adds a residual"
            if not all(s.is_linear for s in segments):
                return "an activation is between it and the convolution"
        case ir.DepthwiseConv2d() | ir.Linear() | ir.Affine():
            if not producer.op.is_linear:
                return f"an activation is between it and the {producer.op.kind}"
        case _:
            return f"follows {producer.op.kind}, which has no weights to fold into"
    return None


def _scale_shift(edit: Edit, op: ir.Operation) -> tuple[torch.Tensor, torch.Tensor]:
    if isinstance(op, ir.Affine):
        return edit.param(op.scale), edit.param(op.shift)
    assert isinstance(op, ir.BatchNorm)
    scale = 1 / torch.sqrt(edit.param(op.var) + op.eps)
    if op.weight is not None:
        scale = edit.param(op.weight) * scale
    shift = -edit.param(op.mean) * scale
    return scale, shift if op.bias is None else edit.param(op.bias) + shift


def _scaled(edit: Edit, name: str, op: ir.Operation, scale: torch.Tensor, shift: torch.Tensor) -> ir.Operation:
    """``scale * op + shift`` as one op."""
    if isinstance(op, ir.Affine):
        return _affine(edit, name, edit.param(op.scale) * scale, edit.param(op.shift) * scale + shift)
    assert isinstance(op, ir.Conv2d | ir.DepthwiseConv2d | ir.Linear)
    weight = edit.param(op.weight)
    folded = edit.add_param(f"{name}.weight", weight * scale.view(-1, *(1,) * (weight.dim() - 1)))
    bias = None
    if op.bias is not None:
        bias = edit.add_param(f"{name}.bias", edit.param(op.bias) * scale + shift)
    elif shift.count_nonzero():
        bias = edit.add_param(f"{name}.bias", shift)
    return replace(op, weight=folded, bias=bias)


def _with_activation_of(source: ir.Operation, op: ir.Operation) -> ir.Operation:
    """``op``, which has no activation, with that of ``source``."""
    if not isinstance(source, ir.Affine) or source.is_linear:
        return op
    if isinstance(op, ir.Conv2d):
        segments = tuple(replace(s, relu=source.relu, activation=source.activation) for s in op.segments)
        return replace(op, segments=segments)
    assert isinstance(op, ir.DepthwiseConv2d | ir.Linear | ir.Affine)
    return replace(op, relu=source.relu, activation=source.activation)


def _affine(edit: Edit, name: str, scale: torch.Tensor, shift: torch.Tensor) -> ir.Affine:
    return ir.Affine(edit.add_param(f"{name}.scale", scale), edit.add_param(f"{name}.shift", shift))
