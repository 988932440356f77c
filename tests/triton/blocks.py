"""Networks about what several steps have to do with each other."""

from __future__ import annotations

from dataclasses import replace

from inception_fast.activation import Activation
from inception_fast.graph import ir
from tests.graph.build import Build


def block() -> ir.Graph:
    """Two stages of branches between convolutions, as in a block of the networks."""
    build = Build(3, 11, 13)
    stem = build.conv("x", 21, (3, 3), relu=True)
    first = [build.conv(stem, 17, (1, 3), bias=True, relu=True), build.conv(stem, 26, (3, 3), stride=(1, 1), relu=True)]
    pooled = build.node(ir.AvgPool((3, 3), (1, 1), (1, 1)), stem)
    second = [build.conv(first[0], 9, (3, 1), relu=True), build.conv(first[1], 18, bias=True)]
    joined = build.node(ir.Concat(in_place=True), *second, pooled)
    build.conv(joined, 5, (3, 3))
    return build.graph()


def stem() -> ir.Graph:
    """Convolution, max pool, 1x1 convolution, where the pool can go with either; then a branch that begins with one."""
    build = Build(3, 17, 15)
    wide = build.conv("x", 13, (3, 3), stride=(2, 2), bias=True, relu=True)
    small = build.node(ir.MaxPool((3, 3), (2, 2), (0, 0), ceil_mode=True), wide)
    trunk = build.conv(small, 22, bias=True, relu=True)
    branch = build.conv(build.node(ir.MaxPool((3, 3), (1, 1), (1, 1)), trunk), 9, relu=True)
    beside = build.conv(trunk, 7, (3, 3), bias=True)
    build.conv(build.node(ir.Concat(in_place=True), beside, branch), 5, (3, 3))
    return build.graph()


def pools_that_stay_alone() -> ir.Graph:
    """A max pool behind a function that is not monotone, and adaptive ones before and behind convolutions."""
    build = Build(3, 11, 13)
    wide = build.conv("x", 13, (3, 3), bias=True)
    op = build.nodes[-1].op
    assert isinstance(op, ir.Conv2d)
    build.nodes[-1] = ir.Node(wide, replace(op, segments=(ir.Segment(13, False, Activation("silu")),)), ("x",))
    small = build.node(ir.MaxPool((3, 3), (2, 2), (0, 0)), wide)
    uneven = build.node(ir.AdaptiveMaxPool((3, 4)), build.conv(small, 9, (3, 3), relu=True))
    build.conv(uneven, 5, bias=True)
    return build.graph()


def pool_before_narrowing(readers: int = 1) -> ir.Graph:
    """What a 1x1 convolution makes of a max pool is placed where the pool's source lies."""
    build = Build(3, 12, 12)
    source = build.conv(build.conv("x", 40, (3, 3), relu=True), 40, relu=True)
    narrow = build.conv(build.node(ir.MaxPool((3, 3), (1, 1), (1, 1)), source), 39, relu=True)
    branches = [build.conv(narrow, 6, (3, 3)) for _ in range(readers)]
    build.conv(build.node(ir.Concat(in_place=True), *branches), 5)
    return build.graph()
