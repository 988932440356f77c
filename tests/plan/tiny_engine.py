"""A hand-made engine of a few kilobytes with every kind of step, for tests of the file format."""

from __future__ import annotations

import torch

from inception_fast.plan.engine_file import EngineFile, Metadata
from inception_fast.plan.plan import (
    Buffer,
    Constant,
    Convolution,
    ConvStep,
    Destination,
    NormalizeStep,
    Output,
    PairStep,
    Plan,
    PointwiseStep,
    PoolStep,
    ResizeStep,
    Slice,
)

BUFFERS = (
    Buffer("x", 6, 6, 3, "input"),
    Buffer("block", 6, 6, 8, "arena", 0),
    Buffer("pooled", 3, 3, 8, "arena", 320),
    Buffer("scaled", 3, 3, 8, "arena", 0),
    Buffer("resized", 6, 6, 8, "arena", 128),
    Buffer("map", 6, 6, 8, "output"),
    Buffer("vector", 1, 1, 8, "output"),
)
TAPS_3X3 = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1))
ROW, COLUMN = tuple((0, x) for x in (-1, 0, 1)), tuple((y, 0) for y in (-1, 0, 1))
STEPS = (
    ConvStep(
        "conv",
        Slice(0, 0, 3),
        Convolution("conv.weight", "conv.bias", 3, 5, TAPS_3X3, (1, 1)),
        (Destination(Slice(1, 0, 3), True), Destination(Slice(1, 3, 2), False)),
    ),
    PairStep(
        "pair",
        Slice(0, 1, 2),
        Convolution("pair.first", None, 2, 4, ROW, (1, 1)),
        True,
        6,
        6,
        Convolution("pair.second", None, 4, 3, COLUMN, (1, 1)),
        (Destination(Slice(1, 5, 3), True),),
        Slice(0, 0, 3),
    ),
    PoolStep(
        "pool",
        "avg",
        Slice(1, 0, 8),
        Destination(Slice(2, 0, 8), True),
        (3, 3),
        (2, 2),
        (1, 1),
        (1, 1),
        "window",
        "pool.bias",
    ),
    PointwiseStep(
        "pointwise",
        Slice(2, 0, 8),
        Destination(Slice(3, 0, 8), False),
        "pointwise.scale",
        "pointwise.shift",
        Slice(2, 0, 8),
    ),
    ResizeStep("resize", Slice(3, 0, 8), Destination(Slice(4, 0, 8), False), False),
    PoolStep("maximum", "max", Slice(3, 0, 8), Destination(Slice(6, 0, 8), False), (3, 3), (1, 1), (0, 0), (0, 0)),
    NormalizeStep("normalize", Slice(4, 0, 8), Destination(Slice(5, 0, 8), False), 1e-12),
)
SHAPES = {
    "conv.weight": (5, 9, 3),
    "conv.bias": (5,),
    "pair.first": (4, 3, 2),
    "pair.second": (3, 3, 4),
    "pool.bias": (8,),
    "pointwise.scale": (8,),
    "pointwise.shift": (8,),
}


def tiny_plan(dtype: str = "float32") -> Plan:
    """Two outputs of a 3x6x6 image, through a block of two branches."""
    weights = ("conv.weight", "pair.first", "pair.second")
    constants = {name: Constant(shape, dtype if name in weights else "float32") for name, shape in SHAPES.items()}
    outputs = (Output(5, False), Output(6, True), Output(5, False))
    return Plan(dtype, BUFFERS, STEPS, ((0, 1), (2,), (3,), (4, 5), (6,)), constants, outputs, 448)


def tiny_engine(precision: str = "fp32") -> EngineFile:
    """:func:`tiny_plan` with random constants; the same each time."""
    plan = tiny_plan({"fp32": "float32", "bf16": "bfloat16"}[precision])
    generator = torch.Generator().manual_seed(0)
    constants = {
        name: torch.randn(c.shape, generator=generator).to(getattr(torch, c.dtype))
        for name, c in plan.constants.items()
    }
    structure: dict[str, object] = {"type": "tuple", "items": [0, 1.5, None, "größe"]}
    metadata = Metadata(precision, False, (3, 6, 6), "float32", structure, producer="tests", report="two\nlines")
    return EngineFile(plan, constants, metadata)
