"""The last value that a rule of Plans lets through, and the first that it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from math import inf, nan, nextafter
from typing import Any

import pytest

from inception_fast.activation import Activation
from inception_fast.errors import PlanError
from inception_fast.graph import ir
from inception_fast.lowering.lower import lower
from inception_fast.plan.plan import (
    Buffer,
    Constant,
    ConvStep,
    DepthwiseStep,
    Destination,
    GateStep,
    Output,
    PairStep,
    Plan,
    Sensitivity,
    Slice,
    destinations_of,
)
from tests.graph.build import Build
from tests.plan.bytes_plan import bytes_plan
from tests.plan.functions_plan import functions_plan
from tests.plan.test_check import (
    activated,
    in_functions,
    in_quantized,
    in_quantized_conv,
    of_bytes,
    with_buffer,
    with_constant,
    with_conv,
    with_step,
)
from tests.plan.tiny_engine import TAPS_3X3, quantized_plan, tiny_plan, winograd_plan

EXTENT, CHANNELS, ELEMENTS, MOST = 1 << 15, 1 << 20, (1 << 31) - 1, 1e30
OUTSIDE = "a window lies outside the image"
Changes = dict[str, Any]


def objection(plan: Plan, changes: Changes) -> str:
    """What is wrong with the changed Plan; '' where nothing is."""
    try:
        replace(plan, **changes)
    except PlanError as error:
        return str(error)
    return ""


def buffer(**changes: Any) -> Callable[[int], Changes]:
    """Of ``block``, the one field left for a value."""
    (name,) = (k for k, v in changes.items() if v is None)
    return lambda value: with_buffer(1, **{**changes, name: value})


def tap(vertical: bool) -> Callable[[int], Changes]:
    return lambda value: with_conv(taps=(*TAPS_3X3[1:], (value, 0) if vertical else (0, value)))


def pair(**changes: Any) -> Changes:
    return with_step("pair", **changes)


def pool(**changes: Any) -> Changes:
    return with_step("pool", **changes)


def first_of_pair(channels: int) -> Changes:
    """The channels between the two convolutions, the second one's constants for as many."""
    step = tiny_plan().steps[1]
    assert isinstance(step, PairStep)
    convs = {"first": replace(step.first, out_channels=channels), "second": replace(step.second, in_channels=channels)}
    shapes = {"pair.first": Constant((channels, 3, 2), "float32"), "pair.second": Constant((3, 3, channels), "float32")}
    return {**pair(**convs), "constants": {**tiny_plan().constants, **shapes}}


def sensitive(value: float) -> Changes:
    return with_conv(sensitivity=Sensitivity(value, 0.0))


def many_buffers(count: int) -> Changes:
    return {"buffers": (*tiny_plan().buffers, *[Buffer("x", 1, 1, 1, "output")] * (count - len(tiny_plan().buffers)))}


def many_steps(count: int) -> Changes:
    return {"steps": tiny_plan().steps[:1] * count}


def large_constant(inputs: int) -> Changes:
    """Of ``2^11 * 2^10 * inputs`` elements."""
    taps = tuple((0, x) for x in range(1 << 10))
    changed = with_conv(taps=taps, out_channels=1 << 11, in_channels=inputs)
    return {**changed, **with_constant("conv.weight", Constant((1 << 11, 1 << 10, inputs), "float32"))}


LIMITS: dict[str, tuple[Callable[[Any], Changes], Any, Any, str]] = {
    "buffers": (many_buffers, 4096, 4097, r"\d buffers"),
    "steps": (many_steps, 4096, 4097, r"\d steps"),
    "height": (buffer(height=None), EXTENT, EXTENT + 1, "block: 32"),
    "width": (buffer(width=None), EXTENT, EXTENT + 1, "block: 6x"),
    "channels": (buffer(height=1, width=1, channels=None), CHANNELS, CHANNELS + 1, "block: 1x1x"),
    "no height": (buffer(height=None), 1, 0, r"block: \dx"),
    "no width": (buffer(width=None), 1, 0, r"block: 6x\dx"),
    "no channels": (buffer(channels=None), 1, 0, "block: 6x6x"),
    "elements": (buffer(height=EXTENT, width=1 << 13, channels=None), 7, 8, "block: 32768x8192x"),
    "arena": (lambda value: {"arena": value}, ELEMENTS, ELEMENTS + 1, "arena of [0-9]+ elements"),
    "no arena": (lambda value: {"arena": value}, 0, -1, "arena of -?[0-9]+ elements"),
    "end of the arena": (lambda value: {"arena": value}, 416, 415, "buffer resized: offset 128 is not aligned"),
    "place of an output": (lambda value: with_buffer(5, offset=value), 0, 64, "map: home output, offset"),
    "place of the input": (lambda value: with_buffer(0, offset=value), 0, 64, "x: home input, offset"),
    "a buffer": (lambda value: with_step("pool", source=Slice(value, 0, 8)), 6, 7, "step pool: no buffer"),
    "no buffer": (lambda value: with_step("pool", source=Slice(value, 0, 8)), 0, -1, "step pool: no buffer"),
    "end of a slice": (lambda value: with_step("pool", source=Slice(1, value, 7)), 1, 2, r"step pool: channels \d"),
    "start of a slice": (
        lambda value: with_step("pool", source=Slice(1, value, 7)),
        0,
        -1,
        r"step pool: channels -?\d",
    ),
    "empty slice": (lambda value: with_step("pool", source=Slice(1, 0, value)), 1, 0, r"step pool: channels \d"),
    "down": (tap(True), EXTENT, EXTENT + 1, "step conv: a tap"),
    "up": (tap(True), -EXTENT, -EXTENT - 1, "step conv: a tap"),
    "right": (tap(False), EXTENT, EXTENT + 1, "step conv: a tap"),
    "stride": (lambda value: with_conv(stride=(1, value)), EXTENT, EXTENT + 1, "step conv: stride"),
    "no stride": (lambda value: with_conv(stride=(1, value)), 1, 0, "step conv: stride"),
    "input channels": (lambda value: with_conv(in_channels=value), CHANNELS, CHANNELS + 1, "step conv: channels"),
    "output channels": (lambda value: with_conv(out_channels=value), CHANNELS, CHANNELS + 1, "step conv: channels"),
    "no input channels": (lambda value: with_conv(in_channels=value), 1, 0, "step conv: channels"),
    "no output channels": (lambda value: with_conv(out_channels=value), 1, 0, "step conv: channels"),
    "sensitivity": (sensitive, MOST, nextafter(MOST, inf), "step conv: Sensitivity"),
    "no sensitivity": (sensitive, 0.0, -1e-9, "step conv: Sensitivity"),
    "a sensitivity that is no number": (sensitive, 1.0, nan, "step conv: Sensitivity"),
    "constant": (large_constant, (1 << 10) - 1, 1 << 10, r"constant conv.weight has \d+ elements"),
    "between a pair": (first_of_pair, CHANNELS, CHANNELS + 1, "step pair: channels"),
    "height between a pair": (lambda value: pair(middle_height=value), EXTENT, EXTENT + 1, "step pair: intermediate"),
    "width between a pair": (lambda value: pair(middle_width=value), 1, 0, "step pair: intermediate"),
    "kernel": (lambda value: pool(kernel=(value, 3)), EXTENT, EXTENT + 1, OUTSIDE),
    "no kernel": (lambda value: with_step("maximum", kernel=(value, 3)), 1, 0, OUTSIDE),
    "a pool's stride": (lambda value: with_step("maximum", stride=(value, 1)), EXTENT, EXTENT + 1, OUTSIDE),
    "no stride of a pool": (lambda value: with_step("maximum", stride=(value, 1)), 1, 0, OUTSIDE),
    "padding": (lambda value: pool(padding=(value, 1)), 2, 3, OUTSIDE),
    "no padding": (lambda value: pool(padding=(value, 1)), 0, -1, OUTSIDE),
    "padding at the end": (lambda value: pool(padding_end=(1, value)), EXTENT, EXTENT + 1, OUTSIDE),
    "no padding at the end": (lambda value: pool(padding_end=(value, 1)), 0, -1, OUTSIDE),
    "last window": (lambda value: pool(stride=(2, value)), 3, 4, OUTSIDE),
    "eps": (lambda value: with_step("normalize", eps=value), 32768.0, nextafter(32768.0, inf), "step normalize: eps"),
    "no eps": (lambda value: with_step("normalize", eps=value), 0.0, -1e-30, "step normalize: eps"),
    "an output": (lambda value: {"outputs": (Output(5, False), Output(value, True))}, 6, 7, r"output -?\d is not"),
    "no output": (lambda value: {"outputs": (*tiny_plan().outputs, Output(value, True))}, 5, -1, r"output -?\d is not"),
    "an operand's channels": (lambda value: with_step("pointwise", other=Slice(2, 0, value)), 8, 7, "second operand"),
    "an operand's size": (lambda value: with_step("pointwise", other=Slice(value, 0, 8)), 3, 1, "second operand"),
    "a resize's channels": (
        lambda value: with_step("resize", destination=Destination(Slice(4, 0, value), False)),
        8,
        7,
        "step resize: changes the number of channels",
    ),
}


@pytest.mark.parametrize("rule", LIMITS)
def test_limit(rule: str) -> None:
    make, last, first, message = LIMITS[rule]
    assert re.search(message, objection(tiny_plan(), make(first)))
    assert not re.search(message, objection(tiny_plan(), make(last)))


LIMITS_OF_QUANTIZED: dict[str, tuple[Callable[[Any], Changes], Any, Any, str]] = {
    "scale": (lambda value: in_quantized(1, scale=value), 2.0**64, nextafter(2.0**64, inf), "block: scale"),
    "small scale": (lambda value: in_quantized(1, scale=value), 2.0**-64, nextafter(2.0**-64, 0.0), "block: scale"),
    "zero": (lambda value: in_quantized(1, zero=value), 255, 256, "block: scale"),
    "least zero": (lambda value: in_quantized(1, zero=value), 0, -1, "block: scale"),
    "an output's zero": (lambda value: in_quantized(4, zero=value), 0, 1, "scores: a scale or a zero"),
    "terms": (
        lambda value: in_quantized_conv(taps=((0, 0),), in_channels=value),
        1 << 16,
        65537,
        r"sums of \d+ products",
    ),
    "sensitivity": (
        lambda value: in_quantized_conv(sensitivity=value),
        None,
        Sensitivity(1.0, 1.0),
        "a sensitivity in",
    ),
}


@pytest.mark.parametrize("rule", LIMITS_OF_QUANTIZED)
def test_limit_of_quantised_plans(rule: str) -> None:
    make, last, first, message = LIMITS_OF_QUANTIZED[rule]
    assert re.search(message, objection(quantized_plan(), make(first)))
    assert not re.search(message, objection(quantized_plan(), make(last)))


def test_lengths_along_an_axis_of_winograd() -> None:
    plan = winograd_plan()
    first = plan.steps[0]

    def along(**changes: Any) -> Changes:
        return {"steps": (replace(first, conv=replace(first.conv, **changes)), *plan.steps[1:])}

    assert objection(plan, along()) == ""
    assert "expected one of" in objection(plan, along(winograd="diagonal"))
    assert "in a float32 Plan" in objection(tiny_plan(), with_conv(winograd="horizontal"))
    for changes in ({"stride": (1, 2)}, {"taps": TAPS_3X3[:-1]}, {"taps": tuple(reversed(TAPS_3X3))}):
        assert "expected a rectangle" in objection(plan, along(**changes))


FLOAT32 = 3.4028234663852886e38


def function(name: str) -> Callable[[float], Changes]:
    """An activation's parameter, the one field left for a value."""
    return lambda value: activated("depthwise", **{"function": "clamp", name: value})


FUNCTION_LIMITS: dict[str, tuple[Callable[[Any], Changes], Any, Any, str]] = {
    "alpha": (function("alpha"), FLOAT32, nextafter(FLOAT32, inf), "out of float32's range"),
    "a negative alpha": (function("alpha"), -FLOAT32, nextafter(-FLOAT32, -inf), "out of float32's range"),
    "beta": (function("beta"), FLOAT32, nextafter(FLOAT32, inf), "out of float32's range"),
    "a norm's size": (lambda value: in_functions("norm", size=value), CHANNELS, CHANNELS + 1, "step norm: size"),
    "no norm": (lambda value: in_functions("norm", size=value), 1, 0, "step norm: size"),
    "a norm's alpha": (lambda v: in_functions("norm", alpha=v), FLOAT32, nextafter(FLOAT32, inf), "alpha, beta, k"),
    "a norm's beta": (lambda v: in_functions("norm", beta=v), -FLOAT32, nextafter(-FLOAT32, -inf), "alpha, beta, k"),
    "a norm's k": (lambda v: in_functions("norm", k=v), FLOAT32, nextafter(FLOAT32, inf), "alpha, beta, k"),
    "a gate for all channels": (lambda v: in_functions("gate", gate=Slice(3, 0, v)), 1, 2, "the gate is 1x1x2"),
    "a gate for each pixel": (lambda v: in_functions("gate", gate=Slice(v, 0, 8)), 1, 5, "step gate: "),
}


@pytest.mark.parametrize("rule", FUNCTION_LIMITS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_limits_of_format_5(rule: str, dtype: str) -> None:
    change, most, too_much, message = FUNCTION_LIMITS[rule]
    plan = functions_plan()
    constants = {k: replace(c, dtype=dtype if k.endswith("weight") else "float32") for k, c in plan.constants.items()}
    plan = replace(plan, dtype=dtype, constants=constants)
    assert objection(plan, change(most)) == ""
    assert re.search(message, objection(plan, change(too_much)))


@pytest.mark.parametrize("name", ["depthwise.weight", "depthwise.bias", "conv.weight", "conv.slope"])
def test_a_constant_has_one_dtype(name: str) -> None:
    plan = functions_plan()
    wrong = {**plan.constants, name: replace(plan.constants[name], dtype="float16")}
    assert re.search(f"constant {name} is", objection(plan, {"constants": wrong}))


def quantized_functions() -> Plan:
    """A quantised Plan with a depthwise convolution in the place of its average, and functions behind it and a sum."""
    plan = quantized_plan()
    silu, prelu = Activation("silu"), Activation("prelu", slope="slope")
    steps = {
        "pool": DepthwiseStep(
            "pool", Slice(1, 0, 4), Destination(Slice(2, 0, 4), False, prelu), "weight", "pool.bias", TAPS_3X3, (1, 1)
        ),
        "add": replace(plan.steps[3], destination=Destination(Slice(5, 0, 4), False, silu)),
    }
    constants = {**plan.constants, "weight": Constant((9, 4), "float32"), "slope": Constant((4,), "float32")}
    return replace(plan, steps=tuple(steps.get(s.name, s) for s in plan.steps), constants=constants)


def test_functions_in_a_quantised_plan_are_of_steps_on_numbers() -> None:
    plan = quantized_functions()
    conv, *others = plan.steps
    assert isinstance(conv, ConvStep)
    target = replace(conv.destinations[0], relu=False, activation=Activation("silu"))
    wrong = {"steps": (replace(conv, destinations=(target,)), *others)}
    assert re.search("step conv: activation silu behind a conv in a uint8 Plan", objection(plan, wrong))
    for name in ("weight", "slope"):
        typed = {**plan.constants, name: replace(plan.constants[name], dtype="int8")}
        assert re.search(f"constant {name} is", objection(plan, {"constants": typed}))


def test_the_value_of_a_margin() -> None:
    for sign in (1, -1):
        assert objection(bytes_plan(), of_bytes("padded", value=sign * FLOAT32)) == ""
        assert "step padded: value" in objection(bytes_plan(), of_bytes("padded", value=sign * 2 * FLOAT32))


@pytest.mark.parametrize(
    ("size", "fits"), [((4, 6), True), ((1, 1), True), ((6, 4), False), ((1, 6), False), ((4, 1), False)]
)
def test_size_of_a_gate(size: tuple[int, int], fits: bool) -> None:
    build = Build(2, 4, 6)
    build.node(ir.Resize(size, False), "x", name="other")
    plan, _ = lower(build.graph("other", build.node(ir.Gate(), "x", "x", name="gated")))
    other = next(d.slice for s in plan.steps if s.name == "other" for d in destinations_of(s))
    steps = tuple(replace(s, gate=other) if isinstance(s, GateStep) else s for s in plan.steps)
    assert ("step gated: the gate is" not in objection(plan, {"steps": steps})) == fits
