"""A hand-made engine of a few kilobytes with every kind of step, for tests of the file format."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from inception_fast.plan.engine_file import EngineFile, Metadata, engine_bytes
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
    Sensitivity,
    Slice,
)
from tests.plan.bytes_plan import bytes_plan
from tests.plan.functions_plan import functions_plan
from tests.plan.mutations import split, with_header

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


def quantized_plan() -> Plan:
    """An output of a 3x6x6 image, in elements on the way; a residual, every kind of pool, a step on numbers."""
    constants = {
        "conv.weight": Constant((4, 9, 3), "int8"),
        "conv.bias": Constant((4,), "int32"),
        "conv.scale": Constant((4,), "float32"),
        "head.weight": Constant((5, 1, 4), "int8"),
        "head.scale": Constant((5,), "float32"),
        "pool.bias": Constant((4,), "float32"),
    }
    buffers = (
        Buffer("x", 6, 6, 3, "input", 0, 0.0078125, 128),
        Buffer("block", 6, 6, 4, "arena", 0, 0.25, 3),
        Buffer("pooled", 6, 6, 4, "arena", 192, 0.125),
        Buffer("vector", 1, 1, 4, "arena", 384, 2),
        Buffer("scores", 1, 1, 5, "output"),
        Buffer("map", 6, 6, 4, "output"),
    )
    block, pooled, vector = (Slice(i, 0, 4) for i in (1, 2, 3))
    conv = Convolution("conv.weight", "conv.bias", 3, 4, TAPS_3X3, (1, 1), "conv.scale")
    head = Convolution("head.weight", None, 4, 5, ((0, 0),), (1, 1), "head.scale")
    pool = ((3, 3), (1, 1), (1, 1), (1, 1), "inside", "pool.bias")
    steps = (
        ConvStep("conv", Slice(0, 0, 3), conv, (Destination(block, True),)),
        PoolStep("pool", "avg", block, Destination(pooled, True), *pool),
        PoolStep("maximum", "max", pooled, Destination(vector, False), (6, 6), (6, 6), (0, 0), (0, 0)),
        PointwiseStep("add", pooled, Destination(Slice(5, 0, 4), False), other=block),
        ConvStep("head", vector, head, (Destination(Slice(4, 0, 5), False),)),
    )
    outputs = (Output(4, True), Output(5, False))
    return Plan("uint8", buffers, steps, ((0,), (1,), (2, 3), (4,)), constants, outputs, 448)


def winograd_plan() -> Plan:
    """:func:`quantized_plan` with its first convolution by F(2, 3), and another along the other axis in place of the
    step on numbers: of lines of four taps, with a residual.
    """
    plan = quantized_plan()
    first, pool, maximum, _, head = plan.steps
    assert isinstance(first, ConvStep)
    lines = tuple((y, x) for y in range(-1, 3) for x in range(2))
    conv = Convolution("tall.weight", "tall.bias", 4, 4, lines, (1, 1), "tall.scale", "vertical")
    tall = ConvStep("tall", Slice(2, 0, 4), conv, (Destination(Slice(5, 0, 4), True),), Slice(1, 0, 4))
    constants = {
        **plan.constants,
        "conv.weight": Constant((4, 12, 3), "int8"),
        "tall.weight": Constant((4, 10, 4), "int8"),
        "tall.bias": Constant((4,), "int32"),
        "tall.scale": Constant((4,), "float32"),
    }
    steps = (replace(first, conv=replace(first.conv, winograd="horizontal")), pool, maximum, tall, head)
    return replace(plan, steps=steps, constants=constants)


def measured_plan() -> Plan:
    """:func:`tiny_plan` with the sensitivities of its convolutions."""
    plan = tiny_plan("float32")
    conv, pair, *others = plan.steps
    assert isinstance(conv, ConvStep) and isinstance(pair, PairStep)
    conv = replace(conv, conv=replace(conv.conv, sensitivity=Sensitivity(0.25, 0.0)))
    second = replace(pair.second, sensitivity=Sensitivity(1e30, 3.0))
    return replace(plan, steps=(conv, replace(pair, second=second), *others))


def quantized_engine(plan: Plan) -> EngineFile:
    """A quantised Plan with random constants; the same each time."""
    generator = torch.Generator().manual_seed(0)
    constants = {
        name: (torch.randn(c.shape, generator=generator) * 40).to(getattr(torch, c.dtype))
        for name, c in plan.constants.items()
    }
    metadata = Metadata("int8", False, (3, 6, 6), plan.input_dtype, structure_of(plan), producer="tests")
    if plan.input_dtype == "uint8":
        metadata = replace(metadata, output_dtype="float16")
    return EngineFile(plan, constants, metadata)


def structure_of(plan: Plan) -> dict[str, object]:
    """A description of the Plan's outputs in a tuple, beside constants of every kind."""
    constants = [{"kind": "constant", "value": value} for value in (0, 1.5, None, "größe")]
    return {
        "kind": "tuple",
        "items": [{"kind": "list", "items": [{"kind": "tensor"}]} for _ in plan.outputs] + constants,
    }


def tiny_engine(kind: str = "fp32") -> EngineFile:
    """The Plan above of a precision, or of "winograd", "measured", "functions", "bytes" or "int8 bytes", with random
    constants; the same each time.
    """
    quantized = {"int8": quantized_plan, "winograd": winograd_plan, "int8 bytes": lambda: bytes_plan("uint8")}
    if kind in quantized:
        return quantized_engine(quantized[kind]())
    makers = {"measured": measured_plan, "functions": functions_plan, "bytes": bytes_plan}
    plan = makers[kind]() if kind in makers else tiny_plan({"fp32": "float32", "bf16": "bfloat16"}[kind])
    generator = torch.Generator().manual_seed(0)
    constants = {
        name: torch.randn(c.shape, generator=generator).to(getattr(torch, c.dtype))
        for name, c in plan.constants.items()
    }
    precision = "fp32" if kind in makers else kind
    metadata = Metadata(
        precision, False, (3, 6, 6), "float32", structure_of(plan), producer="tests", report="two\nlines"
    )
    if kind == "bytes":
        metadata = replace(metadata, input_dtype="uint8", output_dtype="float64", input_layout="NHWC")
    return EngineFile(plan, constants, metadata)


def edited(change: Callable[[Any], object], kind: str = "fp32") -> bytes:
    """The tiny engine's file with its JSON changed and everything around it right."""
    text, constants = split(engine_bytes(tiny_engine(kind)))
    document = json.loads(text)
    change(document)
    return with_header(json.dumps(document).encode(), constants)
