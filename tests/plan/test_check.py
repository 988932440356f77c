"""Every rule of a Plan, broken one at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from inception_fast.activation import Activation
from inception_fast.errors import PlanError
from inception_fast.plan.plan import Buffer, Constant, Destination, Output, Plan, Slice
from tests.plan.bytes_plan import bytes_plan
from tests.plan.functions_plan import functions_plan
from tests.plan.tiny_engine import quantized_plan, tiny_plan


def with_buffer(index: int, **changes: Any) -> dict[str, Any]:
    buffers = list(tiny_plan().buffers)
    buffers[index] = replace(buffers[index], **changes)
    return {"buffers": tuple(buffers)}


def with_step(step: str, **changes: Any) -> dict[str, Any]:
    steps = tuple(replace(s, **changes) if s.name == step else s for s in tiny_plan().steps)
    return {"steps": steps}


def with_conv(**changes: Any) -> dict[str, Any]:
    return with_step("conv", conv=replace(tiny_plan().steps[0].conv, **changes))  # type: ignore[union-attr]


def with_constant(name: str, constant: Constant) -> dict[str, Any]:
    return {"constants": {**tiny_plan().constants, name: constant}}


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "dtype": ({"dtype": "int8"}, "dtype 'int8'"),
    "two inputs": (with_buffer(1, home="input", offset=0), "exactly one input"),
    "empty buffer": (with_buffer(1, height=0), "buffer block: 0x6x8"),
    "huge buffer": (with_buffer(1, height=1 << 21), "buffer block: 2097152x6x8"),
    "misaligned": (with_buffer(1, offset=32), "buffer block: offset 32"),
    "past the arena": (with_buffer(1, offset=192), "buffer block: offset 192"),
    "negative offset": (with_buffer(1, offset=-64), "buffer block: offset -64"),
    "home": (with_buffer(1, home="stack"), "buffer block: home stack"),
    "same buffer name": (with_buffer(1, name="x"), "buffer name 'x'"),
    "same step name": (with_step("pool", name="conv"), "step name 'conv'"),
    "step left out of the stages": ({"stages": ((0, 1), (2,), (3,), (4, 5))}, "stages"),
    "steps out of order": ({"stages": ((1, 0), (2,), (3,), (4, 5), (6,))}, "stages"),
    "empty stage": ({"stages": ((0, 1), (), (2,), (3,), (4, 5), (6,))}, "stages"),
    "no such buffer": (with_step("pool", source=Slice(9, 0, 8)), "step pool: no buffer 9"),
    "slice past the channels": (with_step("pool", source=Slice(1, 1, 8)), "step pool: channels 1\\+8 of buffer block"),
    "negative slice": (with_step("pool", source=Slice(1, -1, 8)), "step pool: channels -1\\+8"),
    "no destination": (with_step("conv", destinations=()), "step conv: no destination"),
    "writes the input": (with_step("pool", destination=Destination(Slice(0, 0, 3), True)), "step pool"),
    "residual of another size": (with_step("pair", residual=Slice(0, 0, 2)), "step pair: the second operand"),
    "reads what it writes": (
        with_step("pointwise", source=Slice(3, 0, 8)),
        "step pointwise: reads scaled before it is written",
    ),
    "channels in": (with_conv(in_channels=2), "step conv"),
    "channels out": (with_conv(out_channels=6), "step conv"),
    "eps": (with_step("normalize", eps=32769.0), "step normalize: eps 32769.0"),
    "eps that is no number": (with_step("normalize", eps=float("nan")), "step normalize: eps nan"),
    "negative eps": (with_step("normalize", eps=-1e-12), "step normalize: eps -1e-12"),
    "no taps": (with_conv(taps=()), "step conv: taps"),
    "a tap twice": (with_conv(taps=((0, 0),) * 9), "step conv: taps"),
    "tap out of range": (with_conv(taps=tuple((0, 1 << 30 | i) for i in range(9))), "step conv: a tap"),
    "stride": (with_conv(stride=(0, 1)), "step conv: stride"),
    "constant missing": (with_conv(weight="nowhere"), "constant nowhere is None"),
    "constant's shape": (with_constant("conv.bias", Constant((6,), "float32")), "constant conv.bias"),
    "constant's dtype": (with_constant("conv.weight", Constant((5, 9, 3), "float16")), "constant conv.weight"),
    "constant without a reader": (with_constant("spare", Constant((1,), "float32")), "without a reader: \\['spare'\\]"),
    "middle": (with_step("pair", middle_height=0), "step pair: intermediate"),
    "pool's channels": (with_step("maximum", source=Slice(3, 0, 7)), "step maximum: changes the number of channels"),
    "window outside the image": (with_step("pool", padding=(3, 1)), "step pool: a window lies outside"),
    "window past the end": (with_step("pool", stride=(4, 2)), "step pool: a window lies outside"),
    "pool's mode": (with_step("pool", mode="sum"), "step pool"),
    "bias on a max pool": (with_step("maximum", bias="pool.bias"), "step maximum: a bias on a max pool"),
    "image size": (with_step("normalize", source=Slice(3, 0, 8)), "step normalize: changes the image size"),
    "no outputs": ({"outputs": ()}, "no outputs"),
    "output in the arena": ({"outputs": (Output(1, False),)}, "output 1 is not an output buffer"),
    "output never returned": ({"outputs": (Output(5, False),)}, "vector is never returned"),
    "read before written": ({"stages": ((0, 1, 2), (3,), (4, 5), (6,))}, "step pool: reads block before"),
    "written twice": (
        with_step("pair", destinations=(Destination(Slice(1, 4, 3), True),)),
        "step pair: writes block a second time",
    ),
    "never written": (with_buffer(1, channels=9), "block: some channels are never written"),
    "shared memory": (with_buffer(2, offset=256), "buffers block and pooled share memory"),
}


def test_tiny_plan_is_valid() -> None:
    assert len(tiny_plan("bfloat16").steps) == len(tiny_plan().steps) == 7


@pytest.mark.parametrize("rule", BROKEN)
def test_broken_rule(rule: str) -> None:
    changes, message = BROKEN[rule]
    with pytest.raises(PlanError, match=message):
        replace(tiny_plan(), **changes)


def in_quantized(index: int, **changes: Any) -> dict[str, Any]:
    buffers = list(quantized_plan().buffers)
    buffers[index] = replace(buffers[index], **changes)
    return {"buffers": tuple(buffers)}


def in_quantized_step(index: int, **changes: Any) -> dict[str, Any]:
    steps = list(quantized_plan().steps)
    steps[index] = replace(steps[index], **changes)
    return {"steps": tuple(steps)}


def in_quantized_conv(**changes: Any) -> dict[str, Any]:
    return in_quantized_step(0, conv=replace(quantized_plan().steps[0].conv, **changes))  # type: ignore[union-attr]


def of_another_dtype(name: str) -> dict[str, Any]:
    constants = quantized_plan().constants
    return {"constants": constants | {name: replace(constants[name], dtype="float16")}}


def large_average(side: int, kernel: tuple[int, int]) -> dict[str, Any]:
    """An average over a single channel of a square image in place of the first pool."""
    plan = quantized_plan()
    buffers = (
        Buffer("x", side, side, 1, "input", 0, 0.0078125, 128),
        Buffer("y", 1, 1, 1, "output"),
    )
    pool = replace(
        plan.steps[1],
        source=Slice(0, 0, 1),
        destination=Destination(Slice(1, 0, 1), False),
        kernel=kernel,
        padding=(0, 0),
        padding_end=(0, 0),
        bias=None,
    )
    whole = {"buffers": buffers, "steps": (pool,), "stages": ((0,),), "outputs": (Output(1, False),)}
    return {**whole, "constants": {}, "arena": 0}


BROKEN_QUANTIZED: dict[str, tuple[dict[str, Any], str]] = {
    "no scale": (in_quantized(1, scale=None), "buffer block: scale None"),
    "a scale of zero": (in_quantized(1, scale=0.0), "buffer block: scale 0.0"),
    "a huge scale": (in_quantized(0, scale=1e30), "buffer x: scale"),
    "zero out of range": (in_quantized(1, zero=256), "buffer block: scale 0.25, zero 256"),
    "a scale of an output": (in_quantized(4, scale=1.0), "buffer scores: a scale or a zero"),
    "another Plan": ({"dtype": "float32"}, "buffer x: a scale or a zero"),
    "no scale of weights": (in_quantized_conv(scale=None), "step conv: scale None"),
    "weights in another dtype": (of_another_dtype("conv.weight"), "expected int8"),
    "biases in another dtype": (of_another_dtype("conv.bias"), "expected int32"),
    "scales in another dtype": (of_another_dtype("conv.scale"), "expected float32"),
    "long sums": (in_quantized_conv(in_channels=1 << 13), "step conv: sums of 73728 products"),
    "a long average": (
        large_average(4096, (2049, 4096)),
        "step pool: averages of 8392704 pixels, int8 takes at most 8388608",
    ),
    "reads an output": (in_quantized_step(4, source=Slice(5, 0, 4)), "step head: reads an output"),
}


@pytest.mark.parametrize("rule", BROKEN_QUANTIZED)
def test_broken_rule_of_quantised_plans(rule: str) -> None:
    changes, message = BROKEN_QUANTIZED[rule]
    with pytest.raises(PlanError, match=message):
        replace(quantized_plan(), **changes)


def test_averages_that_fit_in_32_bits() -> None:
    """What lies outside the image is not summed, and a maximum sums nothing."""
    plan = quantized_plan()
    assert isinstance(replace(plan, **large_average(4096, (2048, 4096))), Plan)
    assert isinstance(replace(plan, **large_average(6, (1 << 15, 1 << 15))), Plan)
    maximum = large_average(4096, (4096, 4096))
    maximum["steps"] = (replace(maximum["steps"][0], mode="max"),)
    assert isinstance(replace(plan, **maximum), Plan)


def test_a_scale_in_a_plan_that_is_not_quantised() -> None:
    with pytest.raises(PlanError, match=r"step conv: scale conv\.bias"):
        replace(tiny_plan(), **with_conv(scale="conv.bias"))


def test_buffers_may_share_memory_once_the_first_is_dead() -> None:
    plan = tiny_plan()
    block, scaled = plan.buffers[1], plan.buffers[3]
    assert block.offset == scaled.offset == 0, "this is what the tiny plan shows"
    assert isinstance(replace(plan, arena=plan.arena + 64), Plan)
    assert isinstance(block, Buffer)


def in_functions(step: str, **changes: Any) -> dict[str, Any]:
    steps = tuple(replace(s, **changes) if s.name == step else s for s in functions_plan().steps)
    return {"steps": steps}


def activated(step: str, *, relu: bool = False, **activation: Any) -> dict[str, Any]:
    """A step whose only destination has an activation."""
    (found,) = (s for s in functions_plan().steps if s.name == step)
    piece = found.destination.slice  # type: ignore[union-attr]
    return in_functions(step, destination=Destination(piece, relu, Activation(**activation)))


BROKEN_FUNCTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown function": (activated("depthwise", function="sine"), "activation sine, expected one of sigmoid"),
    "behind a pool": (activated("pool", function="silu"), "step pool: activation silu behind a pool"),
    "behind a gate": (activated("gate", function="silu"), "step gate: activation silu behind a gate"),
    "a ReLU besides": (activated("depthwise", relu=True, function="silu"), "silu and a ReLU besides"),
    "infinite alpha": (activated("depthwise", function="elu", alpha=float("inf")), "out of float32's range"),
    "beta is no number": (activated("depthwise", function="clamp", beta=float("nan")), "out of float32's range"),
    "prelu without slopes": (activated("depthwise", function="prelu"), "activation prelu: slope None"),
    "slopes without prelu": (activated("depthwise", function="elu", slope="conv.slope"), "elu: slope conv.slope"),
    "slopes of other channels": (activated("depthwise", function="prelu", slope="conv.slope"), "constant conv.slope"),
    "depthwise channels": (in_functions("depthwise", source=Slice(1, 0, 7)), "changes the number of channels"),
    "depthwise taps": (in_functions("depthwise", taps=((0, 0),) * 9), "step depthwise: taps are missing or repeated"),
    "depthwise stride": (in_functions("depthwise", stride=(0, 1)), "step depthwise: stride"),
    "depthwise weight": (in_functions("depthwise", weight="conv.weight"), "step depthwise: constant conv.weight"),
    "depthwise bias": (in_functions("depthwise", bias="conv.slope"), "step depthwise: constant conv.slope"),
    "softmax over an image": (in_functions("softmax", source=Slice(2, 0, 8)), "softmax: changes the image size"),
    "norm of no channels": (in_functions("norm", size=0), "step norm: size 0"),
    "norm's alpha": (in_functions("norm", alpha=float("nan")), "step norm: alpha, beta, k"),
    "norm's k": (in_functions("norm", k=1e39), "step norm: alpha, beta, k"),
    "gate's channels": (in_functions("gate", gate=Slice(3, 0, 7)), "step gate: the gate is 1x1x7"),
    "gate changes the size": (in_functions("gate", source=Slice(3, 0, 8)), "step gate: changes the image size"),
    "adaptive with a kernel": (in_functions("adaptive", kernel=(2, 1)), "adaptive pool with a window of its own"),
    "adaptive with padding": (in_functions("adaptive", padding_end=(0, 1)), "adaptive pool with a window of its own"),
    "adaptive with a divisor": (in_functions("adaptive", divisor="window"), "adaptive pool with a window of its own"),
}


@pytest.mark.parametrize("rule", BROKEN_FUNCTIONS)
def test_broken_rule_of_format_5(rule: str) -> None:
    changes, message = BROKEN_FUNCTIONS[rule]
    with pytest.raises(PlanError, match=message):
        replace(functions_plan(), **changes)


def of_bytes(step: str, **changes: Any) -> dict[str, Any]:
    return {"steps": tuple(replace(s, **changes) if s.name == step else s for s in bytes_plan().steps)}


BROKEN_BYTES: dict[str, tuple[dict[str, Any], str]] = {
    "negative margin": (of_bytes("numbers", padding=(-1, 2)), "step numbers: leaves the destination"),
    "margin past the destination": (of_bytes("numbers", padding=(1, 4)), "step numbers: leaves the destination"),
    "rows past the destination": (of_bytes("numbers", padding=(2, 2)), "step numbers: leaves the destination"),
    "infinite value": (of_bytes("padded", value=float("inf")), "step padded: value inf"),
    "value is no number": (of_bytes("padded", value=float("nan")), "step padded: value nan"),
    "pad's channels": (of_bytes("padded", source=Slice(2, 0, 3)), "step padded: changes the number of channels"),
    "pad's scale": (of_bytes("numbers", scale="conv.weight"), "step numbers: constant conv.weight"),
    "pad's shift": (of_bytes("numbers", shift="part.shift"), "step numbers: constant part.shift"),
    "a convolution of bytes": (of_bytes("conv", source=Slice(0, 0, 3)), "step conv: a conv reads bytes"),
    "a pool of bytes": (of_bytes("pool", source=Slice(0, 0, 3)), "step pool: a pool reads bytes"),
}
WRONG_BUFFERS: dict[str, tuple[int, dict[str, Any], str]] = {
    "an arena of bytes": (1, {"dtype": "uint8"}, "buffer numbers: home arena, dtype uint8"),
    "an output of bytes": (4, {"dtype": "uint8"}, "buffer map: home output, dtype uint8"),
    "an input of another type": (0, {"dtype": "float16"}, "buffer x: home input, dtype float16"),
}


@pytest.mark.parametrize("rule", BROKEN_BYTES)
def test_broken_rule_of_format_6(rule: str) -> None:
    changes, message = BROKEN_BYTES[rule]
    with pytest.raises(PlanError, match=message):
        replace(bytes_plan(), **changes)


@pytest.mark.parametrize("rule", WRONG_BUFFERS)
def test_only_an_input_is_bytes(rule: str) -> None:
    index, changes, message = WRONG_BUFFERS[rule]
    buffers = tuple(replace(b, **changes) if i == index else b for i, b in enumerate(bytes_plan().buffers))
    with pytest.raises(PlanError, match=message):
        replace(bytes_plan(), buffers=buffers)


@pytest.mark.parametrize(("scale", "zero"), [(2.0, 0), (1.0, 1), (None, 0)])
def test_bytes_of_a_quantised_plan_stand_for_themselves(scale: float | None, zero: int) -> None:
    plan = bytes_plan("uint8")
    source = replace(plan.buffers[0], scale=scale, zero=zero)
    with pytest.raises(PlanError, match="buffer x: scale"):
        replace(plan, buffers=(source, *plan.buffers[1:]))
