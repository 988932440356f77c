"""The configurations that :mod:`tests.triton.compile_rule` compiles, and the convolutions that it compiles them for."""

from __future__ import annotations

from collections.abc import Iterator

from inception_fast.tuning.candidates import H200, Limits, proposals
from inception_fast.tuning.group import proposals_for_group
from inception_fast.tuning.problem import ConvConfig, ConvProblem

Shape = tuple[int, int, tuple[int, int], int, tuple[int, int]]
"""Input channels, output channels, kernel, side of the output, stride."""

CONVOLUTIONS: dict[str, Shape] = {
    "wide": (192, 320, (1, 7), 17, (1, 1)),
    "ragged": (80, 192, (3, 3), 71, (1, 1)),
    "first": (3, 32, (3, 3), 149, (2, 2)),
}
GROUPS: dict[str, list[Shape]] = {
    "wide group": [(384, 384, (1, 3), 8, (1, 1)), (384, 384, (3, 1), 8, (1, 1)), (448, 384, (3, 3), 8, (1, 1))],
    "ragged group": [(48, 64, (5, 5), 35, (1, 1)), (80, 96, (3, 3), 35, (2, 2))],
}

A100 = Limits(processors=108, shared_memory=166912, cache=40 * 2**20, matrix_from_shared=False)
LIMITS = {80: A100, 90: H200, 100: H200}


def surveyed_configs(arch: int, dtype: str, precision: str) -> Iterator[tuple[str, ConvConfig]]:
    """Every configuration that the rule can propose, by kind; the deepest pipeline stands for the shallower ones."""
    groups = {kind: [shape] for kind, shape in CONVOLUTIONS.items()} | GROUPS
    for kind, shapes in groups.items():
        problems = [_problem(shape, dtype, precision) for shape in shapes]
        found = (
            proposals(*problems, LIMITS[arch]) if kind in CONVOLUTIONS else proposals_for_group(problems, LIMITS[arch])
        )
        for config in {(c.m, c.n, c.k): c for c in found}.values():
            yield kind, config


def _problem(shape: Shape, dtype: str, precision: str) -> ConvProblem:
    c_in, c_out, kernel, side, stride = shape
    return ConvProblem(8, side * side, c_in, c_out, kernel[0] * kernel[1], stride[0] * stride[1], dtype, precision)
