"""Networks about what several steps have to do with each other."""

from __future__ import annotations

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
