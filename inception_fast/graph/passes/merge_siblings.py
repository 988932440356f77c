"""Makes one convolution of those that read the same tensor.

Before::

    a = Conv2d(x; W_a, b_a, relu)       # 1x1
    b = Conv2d(x; W_b)                  # 1x1

After::

    m = Conv2d(x; [W_a; W_b], [b_a; 0], segments (C_a, relu), (C_b))
    a = Slice(m, 0, C_a)
    b = Slice(m, C_a, C_b)

Algebra: each output channel of a convolution has weights of its own, so stacking the rows of two weights stacks the
results. ``x`` is then read once, by one matrix product that is wide enough to fill the machine.

With ``taps`` also 1xn and nx1 convolutions, over the union of their taps: in the smallest window that holds every pixel
that one of them reads, with weight zero where a convolution does not look. The 1x3 and 3x1 of Inception-v3's 8x8 blocks
make a cross of 5 taps in a 3x3 window: 5/3 of the multiply-adds, in one launch. A zero weight takes nothing from a
finite pixel; an infinite one spreads over the cross as NaN.

Conditions: no residual, one segment, all taps. 1x1: stride 1, no padding. 1xn and nx1: undilated, equal strides, and
the same output size from all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import replace

import torch

from inception_fast.graph import ir
from inception_fast.graph.conv_kinds import is_plain_1x1, kernel_size, orientation
from inception_fast.graph.edit import Edit, join_origins


def merge_siblings(graph: ir.Graph, taps: bool = False) -> ir.Graph:
    """A graph in which a tensor has one 1x1 convolution, and with ``taps`` one of 1xn and nx1 besides."""
    groups: dict[Hashable, list[ir.Node]] = defaultdict(list)
    for node in graph.of_kind(ir.Conv2d):
        assert isinstance(node.op, ir.Conv2d)
        if len(node.op.segments) > 1:
            continue
        if is_plain_1x1(graph, node):
            groups[node.inputs[0], "1x1"].append(node)
        elif taps and _is_arm(graph, node):
            groups[node.inputs[0], node.op.stride, graph.shapes[node.name][1:]].append(node)
    edit = Edit(graph)
    for siblings in groups.values():
        if len(siblings) > 1:
            _merge(edit, siblings)
    return edit.finish()


def why_not(graph: ir.Graph) -> tuple[str, ...]:
    """Why a 1x1 convolution that reads what another reads is still by itself."""
    notes = []
    for value in graph.by_name:
        readers = dict.fromkeys(graph.consumers[value])
        siblings = [n for n in readers if _is_1x1(graph, n) and n.inputs[0] == value]
        for node in siblings if len(siblings) > 1 else []:
            if not is_plain_1x1(graph, node):
                notes.append(f"{node.origin or node.name}: has a stride, padding or a residual")
    return tuple(notes)


def _is_1x1(graph: ir.Graph, node: ir.Node) -> bool:
    return isinstance(node.op, ir.Conv2d) and kernel_size(graph, node.op) == (1, 1)


def _is_arm(graph: ir.Graph, node: ir.Node) -> bool:
    """True where a convolution can be one arm of a cross."""
    assert isinstance(node.op, ir.Conv2d)
    return orientation(graph, node) is not None and len(node.inputs) == 1 and node.op.dilation == (1, 1)


def _merge(edit: Edit, siblings: list[ir.Node]) -> None:
    ops = [n.op for n in siblings if isinstance(n.op, ir.Conv2d)]
    sizes = [kernel_size(edit.old, op) for op in ops]
    # Taps as offsets from the pixel at (output position * stride), which the siblings have in common.
    offsets = [
        {(row - op.padding[0], column - op.padding[1]) for row in range(kh) for column in range(kw)}
        for op, (kh, kw) in zip(ops, sizes, strict=True)
    ]
    union = sorted(set().union(*offsets))
    top, left = -min(row for row, _ in union), -min(column for _, column in union)
    height, width = max(row for row, _ in union) + top + 1, max(column for _, column in union) + left + 1

    parameters = [edit.param(op.weight) for op in ops]
    weight = torch.zeros(
        sum(op.channels for op in ops), parameters[0].shape[1], height, width, dtype=torch.float64, device="cpu"
    )
    bias = torch.zeros(len(weight), dtype=torch.float64, device="cpu")
    name = edit.fresh(f"{siblings[0].name}_siblings")
    start = 0
    for node, op, (kh, kw), parameter in zip(siblings, ops, sizes, parameters, strict=True):
        stop, row, column = start + op.channels, top - op.padding[0], left - op.padding[1]
        weight[start:stop, :, row : row + kh, column : column + kw] = parameter
        if op.bias is not None:
            bias[start:stop] = edit.param(op.bias)
        edit.put(node.name, ir.Slice(start, op.channels), (name,), node.origin)
        start = stop

    # At the far end the window sticks out past each sibling's own, and so must the padding.
    (kh, kw), (pad_top, pad_left, pad_bottom, pad_right) = sizes[0], ops[0].padding
    merged = replace(
        ops[0],
        weight=edit.add_param(f"{name}.weight", weight),
        bias=edit.add_param(f"{name}.bias", bias) if any(op.bias for op in ops) else None,
        padding=(top, left, pad_bottom + height - top - kh + pad_top, pad_right + width - left - kw + pad_left),
        segments=tuple(op.segments[0] for op in ops),
        taps=None if len(union) == height * width else tuple((row + top, column + left) for row, column in union),
    )
    edit.put(name, merged, siblings[0].inputs, join_origins([n.origin for n in siblings]))
