"""Folds batch normalisation and per-channel affine maps into the convolution or linear layer in front of them.

Before::

    c = Conv2d(x; W, b)                 # or Linear; b may be absent
    y = BatchNorm(c; mean, var, gamma, beta, eps)

After::

    y = Conv2d(x; W', b')

Algebra: inference-mode batch normalisation is ``y = s * c + t`` per channel with ``s = gamma / sqrt(var + eps)`` and
``t = beta - mean * s`` (Ioffe and Szegedy 2015, section 3.1), and ``s * (W * x + b) + t = (s W) * x + (s b + t)``. An
Affine is the same map with ``s`` and ``t`` given. All in float64, ``eps`` as it is: trained variances go down to
1e-14.

Conditions: the convolution's value has no other reader, it has no residual and no ReLU, and ``W'`` fits in half
precision if ``W`` does: a variance of zero and a small ``eps`` make ``s`` a million. An Affine without ReLU composes
with the Affine behind it in the same way, in float32, unless it moves the network's input without rounding (see
:mod:`inception_fast.graph.passes.fold_input_affine`). Any other BatchNorm becomes an Affine; one of the network's input
two, the first of which subtracts the mean. The map's own ReLU moves with it.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from inception_fast.graph import ir
from inception_fast.graph.edit import Edit
from inception_fast.graph.rewrite import LARGEST_SINGLE, moves_input, overflows, powers_of_two


def fold_batchnorm(graph: ir.Graph) -> ir.Graph:
    """A graph without BatchNorm, and with an Affine only where nothing in front of it can take it."""
    edit = Edit(graph)
    for node in graph.of_kind(ir.BatchNorm, ir.Affine):
        scale, shift = _scale_shift(edit, node.op)
        relu = isinstance(node.op, ir.Affine) and node.op.relu
        if _obstacle(edit, node) is None:
            producer = edit.producer(node.inputs[0])
            op = _scaled(edit, node.name, producer.op, scale, shift, relu)
            edit.put(node.name, op, producer.inputs, producer.origin or node.origin)
        elif isinstance(node.op, ir.BatchNorm):
            inputs, op = node.inputs, _affine(edit, node.name, scale, shift, relu)
            mean = edit.param(node.op.mean)
            if inputs[0] == graph.input.name and mean.count_nonzero():
                centred = _affine(edit, f"{node.name}.centred", torch.ones_like(mean), -mean, False)
                inputs = (edit.put(edit.fresh(f"{node.name}.centred"), centred, inputs, node.origin),)
                op = _affine(edit, node.name, scale, shift + mean * scale, relu)
            edit.put(node.name, op, inputs, node.origin)
    return edit.finish()


def why_not(graph: ir.Graph) -> tuple[str, ...]:
    """Why each BatchNorm or Affine of a folded graph is still there."""
    edit = Edit(graph)
    reasons = ((n, _obstacle(edit, n)) for n in graph.of_kind(ir.BatchNorm, ir.Affine))
    return tuple(f"{n.origin or n.name}: {reason}" for n, reason in reasons if reason)


def _obstacle(edit: Edit, node: ir.Node) -> str | None:
    value = node.inputs[0]
    producer = edit.producer(value)
    match producer.op:
        case ir.Conv2d(segments=segments):
            if len(producer.inputs) > 1:
                return "the convolution in front of it adds a residual"
            if any(s.relu for s in segments):
                return "a ReLU is between it and the convolution"
        case ir.Linear(relu=True) | ir.Affine(relu=True):
            return f"a ReLU is between it and the {producer.op.kind}"
        case ir.Linear() | ir.Affine():
            pass
        case _:
            return f"follows {producer.op.kind}, which has no weights to fold into"
    if not edit.old.is_private(value):
        return f"%{value} has other readers"
    scale, _ = _scale_shift(edit, node.op)
    if isinstance(producer.op, ir.Affine):
        if moves_input(edit.old, producer, edit.param) and not powers_of_two(scale):
            return "follows an exact subtraction from the input, whose digits it would lose"
        vectors = (edit.param(producer.op.scale), edit.param(producer.op.shift))
        fits = not any(overflows(vector, scale, LARGEST_SINGLE) for vector in vectors)
    else:
        fits = not overflows(edit.param(producer.op.weight).flatten(1), scale.view(-1, 1))
    return None if fits else "the weights that folding makes would overflow half precision"


def _scale_shift(edit: Edit, op: ir.Op) -> tuple[torch.Tensor, torch.Tensor]:
    if isinstance(op, ir.Affine):
        return edit.param(op.scale), edit.param(op.shift)
    assert isinstance(op, ir.BatchNorm)
    scale = 1 / torch.sqrt(edit.param(op.var) + op.eps)
    if op.weight is not None:
        scale = edit.param(op.weight) * scale
    shift = -edit.param(op.mean) * scale
    return scale, shift if op.bias is None else edit.param(op.bias) + shift


def _scaled(edit: Edit, name: str, op: ir.Op, scale: torch.Tensor, shift: torch.Tensor, relu: bool) -> ir.Op:
    """``act(scale * op + shift)`` as one op."""
    if isinstance(op, ir.Affine):
        return _affine(edit, name, edit.param(op.scale) * scale, edit.param(op.shift) * scale + shift, relu)
    assert isinstance(op, ir.Conv2d | ir.Linear)
    weight = edit.param(op.weight)
    folded = edit.add_param(f"{name}.weight", weight * scale.view(-1, *(1,) * (weight.dim() - 1)))
    bias = None
    if op.bias is not None:
        bias = edit.add_param(f"{name}.bias", edit.param(op.bias) * scale + shift)
    elif shift.count_nonzero():
        bias = edit.add_param(f"{name}.bias", shift)
    if isinstance(op, ir.Linear):
        return replace(op, weight=folded, bias=bias, relu=relu)
    return replace(op, weight=folded, bias=bias, segments=tuple(replace(s, relu=relu) for s in op.segments))


def _affine(edit: Edit, name: str, scale: torch.Tensor, shift: torch.Tensor, relu: bool) -> ir.Affine:
    return ir.Affine(edit.add_param(f"{name}.scale", scale), edit.add_param(f"{name}.shift", shift), relu)
