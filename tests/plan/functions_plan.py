"""A hand-made Plan with the kinds of steps, and the activations, that came with format 5."""

from __future__ import annotations

from inception_fast.activation import Activation
from inception_fast.plan.plan import (
    Buffer,
    Constant,
    Convolution,
    ConvStep,
    DepthwiseStep,
    Destination,
    GateStep,
    LocalResponseStep,
    Output,
    Plan,
    PoolStep,
    Slice,
    SoftmaxStep,
)

TAPS = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1))


def functions_plan() -> Plan:
    """Two outputs of a 3x6x6 image."""
    buffers = (
        Buffer("x", 6, 6, 3, "input"),
        Buffer("block", 6, 6, 8, "arena", 0),
        Buffer("deep", 6, 6, 8, "arena", 320),
        Buffer("pooled", 1, 1, 8, "arena", 640),
        Buffer("gated", 6, 6, 8, "arena", 704),
        Buffer("map", 4, 5, 8, "output"),
        Buffer("scores", 1, 1, 8, "output"),
        Buffer("normal", 6, 6, 8, "arena", 1024),
    )
    whole = [Slice(index, 0, 8) for index in range(8)]
    prelu, clamp = Activation("prelu", slope="conv.slope"), Activation("clamp", -0.5, 6.0)
    conv = Convolution("conv.weight", None, 3, 8, TAPS, (1, 1))
    steps = (
        ConvStep(
            "conv",
            Slice(0, 0, 3),
            conv,
            (Destination(Slice(1, 0, 5), False, prelu), Destination(Slice(1, 5, 3), False, clamp)),
        ),
        DepthwiseStep(
            "depthwise", whole[1], Destination(whole[2], True), "depthwise.weight", "depthwise.bias", TAPS, (1, 1)
        ),
        PoolStep("pool", "avg", whole[2], Destination(whole[3], False), (6, 6), (6, 6), (0, 0), (0, 0)),
        LocalResponseStep("norm", whole[2], Destination(whole[7], False), 5, 0.5, 0.75, 1.0),
        GateStep("gate", whole[7], whole[3], Destination(whole[4], True)),
        SoftmaxStep("softmax", whole[3], Destination(whole[6], False), True),
        PoolStep(
            "adaptive", "max", whole[4], Destination(whole[5], False), (1, 1), (1, 1), (0, 0), (0, 0), adaptive=True
        ),
    )
    constants = {
        "conv.weight": Constant((8, 9, 3), "float32"),
        "conv.slope": Constant((5,), "float32"),
        "depthwise.weight": Constant((9, 8), "float32"),
        "depthwise.bias": Constant((8,), "float32"),
    }
    outputs = (Output(5, False), Output(6, True))
    return Plan("float32", buffers, steps, ((0,), (1,), (2, 3), (4, 5), (6,)), constants, outputs, 1344)
