"""Lets convolutions take channels in the order in which they come.

Before::

    s = Select(x; k)                    # channels k[0], k[1] ... of x
    y = Conv2d(Affine(s; t, u); W, b)

After::

    y = Conv2d(Affine(x; t', u'); W', b)

Algebra: ``sum_i W[o,i,p] s[i,p]`` is ``sum_c (sum of W[o,i,p] over i with k[i] = c) x[c,p]``: the weights change
places, which is exact; those of a channel that is there several times are added, in float64. What computes on each
channel by itself (an affine, a pool, a resize) does the same to the channels in their old order, ``t'[k[i]] = t[i]``.

Conditions: what is between is read by nobody else, and ``k`` is a permutation where it has vectors or would compute on
more channels than before. Only neighbouring channels of ``x`` may be left out (a slice of ``x`` is read then), for one
without weights would still be multiplied by zero, which is no zero where it is NaN. Added weights fit in half precision
if they did before.

A Select that nobody could take becomes a concat of slices.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from inception_fast.graph import ir
from inception_fast.graph.edit import Edit
from inception_fast.graph.rewrite import LARGEST_HALF

_CHANNELWISE = (ir.Affine, ir.ReLU, ir.MaxPool, ir.AvgPool, ir.AdaptiveAvgPool, ir.AdaptiveMaxPool, ir.Resize)


def fold_channel_order(graph: ir.Graph) -> ir.Graph:
    """A graph without Select."""
    while sinking := next((n for n in graph.of_kind(ir.Select) if _obstacle_to_sinking(graph, n) is None), None):
        graph = _sunk(graph, sinking)
    edit = Edit(graph)
    for node in graph.of_kind(ir.Select):
        for reader in graph.consumers[node.name]:
            if _obstacle(graph, node, reader) is None:
                _fold(edit, node, reader)
        _spell_out(edit, node)
    return edit.finish()


def why_not(graph: ir.Graph) -> tuple[str, ...]:
    """Nothing is left to explain: what is not folded are copies, of which eliminate_concat tells."""
    return ()


def _obstacle_to_sinking(graph: ir.Graph, node: ir.Node) -> str | None:
    """Why a Select cannot change places with its reader."""
    assert isinstance(node.op, ir.Select)
    if not graph.is_private(node.name):
        return "has several readers"
    (reader,) = graph.consumers[node.name]
    if not isinstance(reader.op, _CHANNELWISE):
        return f"is read by {reader.op.kind}"
    if isinstance(reader.op, ir.Affine) and reader.op.slope is not None:
        return "is read by a function with a slope for each channel"
    if isinstance(reader.op, ir.AvgPool) and reader.op.bias is not None:
        return "is read by a pool with a bias for each channel"
    if sorted(node.op.channels) != list(range(graph.shapes[node.inputs[0]][0])):
        return "is no permutation"
    return None


def _sunk(graph: ir.Graph, node: ir.Node) -> ir.Graph:
    """The reader of ``node`` before it."""
    edit = Edit(graph)
    (reader,), op = graph.consumers[node.name], node.op
    assert isinstance(op, ir.Select)
    first = reader.op
    if isinstance(first, ir.Affine):
        # Where each channel has gone.
        places = torch.tensor(op.channels, device="cpu").argsort()
        scale, shift = (
            edit.add_param(f"{reader.name}.{what}", edit.param(getattr(first, what))[places])
            for what in ("scale", "shift")
        )
        first = replace(first, scale=scale, shift=shift)
    before = edit.put(edit.fresh(f"{reader.name}.unordered"), first, node.inputs, reader.origin)
    edit.put(reader.name, op, (before,), node.origin)
    return edit.finish()


def _obstacle(graph: ir.Graph, node: ir.Node, reader: ir.Node) -> str | None:
    """Why a convolution cannot take the channels of a Select as they come."""
    assert isinstance(node.op, ir.Select)
    if not isinstance(reader.op, ir.Conv2d) or node.name in reader.inputs[1:]:
        return "is no convolution's image"
    channels = set(node.op.channels)
    if channels != set(range(min(channels), max(channels) + 1)):
        return "leaves out channels between others"
    weight = graph.params[reader.op.weight].detach().double()
    largest = weight.abs().max().clamp_min(LARGEST_HALF)
    if bool(_ordered(weight, node.op.channels).abs().max() > largest):
        return "the sums of weights would overflow half precision"
    return None


def _ordered(weight: torch.Tensor, channels: tuple[int, ...]) -> torch.Tensor:
    """``[C_out, C, kh, kw]`` for the channels from the first to the last that are selected."""
    first = min(channels)
    positions = torch.tensor(channels, device="cpu") - first
    shape = (weight.shape[0], max(channels) - first + 1, *weight.shape[2:])
    if len(set(channels)) == len(channels):
        return weight[:, positions.argsort()]
    return weight.new_zeros(shape).index_add_(1, positions, weight)


def _fold(edit: Edit, node: ir.Node, reader: ir.Node) -> None:
    assert isinstance(node.op, ir.Select) and isinstance(reader.op, ir.Conv2d)
    (source,), first, last = node.inputs, min(node.op.channels), max(node.op.channels)
    if last - first + 1 < edit.old.shapes[source][0]:
        part = ir.Slice(first, last - first + 1)
        source = edit.put(edit.fresh(f"{node.name}.slice"), part, (source,), node.origin)
    weight = _ordered(edit.param(reader.op.weight), node.op.channels)
    op = replace(reader.op, weight=edit.add_param(f"{reader.name}.weight", weight))
    edit.put(reader.name, op, (source, *reader.inputs[1:]), reader.origin)


def _spell_out(edit: Edit, node: ir.Node) -> None:
    """A Select as a concat of the longest slices."""
    assert isinstance(node.op, ir.Select)
    runs: list[list[int]] = []
    for channel in node.op.channels:
        if runs and channel == runs[-1][-1] + 1:
            runs[-1].append(channel)
        else:
            runs.append([channel])
    parts = tuple(
        edit.put(edit.fresh(f"{node.name}.slice"), ir.Slice(run[0], len(run)), node.inputs, node.origin) for run in runs
    )
    edit.put(node.name, ir.Concat(), parts, node.origin)
