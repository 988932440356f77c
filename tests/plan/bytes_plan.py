"""Hand-made Plans of bytes, with the step that came with format 6."""

from __future__ import annotations

from inception_fast.plan.plan import (
    Buffer,
    Constant,
    Convolution,
    ConvStep,
    Destination,
    Output,
    PadStep,
    Plan,
    PoolStep,
    Slice,
)

TAPS = ((0, 0), (0, 1), (1, 0))


def bytes_plan(dtype: str = "float32") -> Plan:
    """Two outputs of a 3x6x6 image; ``dtype`` is float32 or uint8."""
    quantized = dtype == "uint8"

    def arena(name: str, height: int, width: int, channels: int, offset: int, scale: float) -> Buffer:
        return Buffer(name, height, width, channels, "arena", offset, *((scale, 7) if quantized else ()))

    source = Buffer("x", 6, 6, 3, "input", 0, 1.0 if quantized else None, 0, "uint8")
    buffers = (
        source,
        arena("numbers", 7, 9, 3, 0, 0.03125),
        arena("block", 6, 8, 4, 192, 0.25),
        arena("padded", 8, 8, 4, 384, 0.25),
        Buffer("map", 4, 4, 4, "output"),
        Buffer("part", 6, 6, 2, "output"),
    )
    names = ("conv.bias", "conv.scale") if quantized else ("conv.bias", None)
    conv = Convolution("conv.weight", names[0], 3, 4, TAPS, (1, 1), names[1])
    steps = (
        PadStep("numbers", Slice(0, 0, 3), Destination(Slice(1, 0, 3), False), (1, 2), -0.5, "scale", "shift"),
        PadStep("part", Slice(0, 1, 2), Destination(Slice(5, 0, 2), True), (0, 0), 0.0, None, "part.shift"),
        ConvStep("conv", Slice(1, 0, 3), conv, (Destination(Slice(2, 0, 4), True),)),
        PadStep("padded", Slice(2, 0, 4), Destination(Slice(3, 0, 4), False), (2, 0), 1.25),
        PoolStep("pool", "max", Slice(3, 0, 4), Destination(Slice(4, 0, 4), False), (2, 2), (2, 2), (0, 0), (0, 0)),
    )
    constants = {
        "scale": Constant((3,), "float32"),
        "shift": Constant((3,), "float32"),
        "part.shift": Constant((2,), "float32"),
        "conv.weight": Constant((4, 3, 3), "int8" if quantized else dtype),
        "conv.bias": Constant((4,), "int32" if quantized else "float32"),
        **({"conv.scale": Constant((4,), "float32")} if quantized else {}),
    }
    outputs = (Output(4, False), Output(5, False))
    return Plan(dtype, buffers, steps, ((0, 1), (2,), (3,), (4,)), constants, outputs, 640)
