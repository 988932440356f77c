"""The configurations that :mod:`tests.triton.compile_rule` compiles, and the convolutions that it compiles them for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from inception_fast.tuning.candidates import proposals
from inception_fast.tuning.cost import A100, H200
from inception_fast.tuning.group import proposals_for_group
from inception_fast.tuning.problem import ConvConfig, ConvProblem

Shape = tuple[int, int, tuple[int, int], int, tuple[int, int]]
"""Input channels, output channels, kernel, side of the output, stride."""

CONVOLUTIONS: dict[str, Shape] = {
    "wide": (192, 320, (1, 7), 17, (1, 1)),
    "wide, of 192": (192, 192, (7, 1), 17, (1, 1)),
    "wide, of 448": (384, 448, (3, 1), 8, (1, 1)),
    "ragged": (80, 192, (3, 3), 71, (1, 1)),
    "first": (3, 32, (3, 3), 149, (2, 2)),
    "uneven": (256, 240, (1, 1), 35, (1, 1)),
}
GROUPS: dict[str, list[Shape]] = {
    "wide group": [(384, 384, (1, 3), 8, (1, 1)), (384, 384, (3, 1), 8, (1, 1)), (448, 384, (3, 3), 8, (1, 1))],
    "ragged group": [(48, 64, (5, 5), 35, (1, 1)), (80, 96, (3, 3), 35, (2, 2))],
}

GROUPED_WIDTHS = (160, 224, 256)
"""Of groups whose members have one width, which allows other tiles than those above."""


LIMITS = {80: A100, 90: H200, 100: H200}


def surveyed_configs(arch: int, dtype: str, precision: str) -> Iterator[tuple[str, ConvConfig]]:
    """Every configuration that the rule can propose, by kind.

    The deepest pipeline stands for the shallower ones, and the first number of splits for all.
    """
    groups = {kind: [shape] for kind, shape in CONVOLUTIONS.items()} | GROUPS
    for kind, shapes in groups.items():
        found: dict[tuple[object, ...], ConvConfig] = {}
        for images in (1, 8):
            problems = [_problem(images, shape, dtype, precision) for shape in shapes]
            if kind in CONVOLUTIONS:
                configs = proposals(*problems, LIMITS[arch])
            else:
                alike = [[replace(problems[-1], out_channels=width)] for width in GROUPED_WIDTHS]
                configs = [c for group in (problems, *alike) for c in proposals_for_group(group, LIMITS[arch])]
            for c in configs:
                key = (c.m, c.n, c.k, c.splits > 1)
                found[key] = max(found.get(key, c), c, key=lambda c: (c.stages, -c.splits))
        for config in found.values():
            yield kind, config


def _problem(images: int, shape: Shape, dtype: str, precision: str) -> ConvProblem:
    c_in, c_out, kernel, side, stride = shape
    return ConvProblem(images, side * side, c_in, c_out, kernel[0] * kernel[1], stride[0] * stride[1], dtype, precision)
