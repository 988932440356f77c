"""Shapes that are known beforehand are those of what is computed."""

from __future__ import annotations

from itertools import product

import pytest
import torch
import torch.nn.functional as F

from inception_fast.errors import InputError
from inception_fast.graph import ir
from inception_fast.graph.interpreter import interpret
from inception_fast.graph.shapes import pool_extent
from tests.graph.build import Build
from tests.graph.check import random_input


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("dilation", [1, 2])
def test_pools_have_as_many_pixels_as_pytorch_s(dilation: int, ceil_mode: bool) -> None:
    compared = 0
    for size, kernel, stride in product(range(1, 12), range(1, 5), range(1, 6)):
        for padding in range(kernel // 2 + 1):
            if size + 2 * padding <= dilation * (kernel - 1):
                continue
            x = torch.zeros(1, 1, size)
            truth = F.max_pool1d(x, kernel, stride, padding, dilation, ceil_mode).shape[2]
            assert pool_extent(size, kernel, stride, padding, ceil_mode, dilation) == truth, (size, kernel, stride)
            if dilation == 1:
                assert pool_extent(size, kernel, stride, padding, ceil_mode) == truth
            compared += 1
    assert compared > 300


OPS: dict[str, ir.Op] = {
    "pad": ir.Pad((1, 2, 3, 5)),
    "max pool": ir.MaxPool((3, 2), (2, 3), (1, 0), outside=(1, 2, 4, 6)),
    "dilated max pool": ir.MaxPool((2, 2), (1, 1), (0, 1), (3, 2)),
    "average pool": ir.AvgPool((2, 3), (3, 1), (1, 0), ceil_mode=True),
    "adaptive max pool": ir.AdaptiveMaxPool((2, 3)),
    "slice": ir.Slice(1, 2),
    "select": ir.Select((3, 0, 1, 1, 2)),
    "softmax": ir.Softmax(),
}


@pytest.mark.parametrize("name", OPS)
def test_of_what_is_computed(name: str) -> None:
    b = Build(4, 8, 9)
    graph = b.graph(b.node(OPS[name], "x", name="y"))
    (out,) = interpret(graph, random_input(graph))
    assert graph.shapes["y"] == out.shape[1:]


@pytest.mark.parametrize(("origin", "where"), [("block.conv", "block.conv"), ("", "y")])
def test_an_image_too_small_is_refused_with_the_layer(origin: str, where: str) -> None:
    b = Build(4, 2, 5)
    weight = b.param(3, 4, 3, 3)
    op = ir.Conv2d(weight, None, (1, 1), (0, 0, 0, 0), (1, 1), (ir.Segment(3),))
    graph = ir.Graph((*b.nodes, ir.Node("y", op, ("x",), origin)), ("y",), b.params)
    with pytest.raises(InputError) as caught:
        graph.shapes  # noqa: B018
    assert str(caught.value) == (
        f"image size: got (3, 0, 3) at {where}, expected an image large enough for every layer"
    )
