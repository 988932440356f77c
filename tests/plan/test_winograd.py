"""Which Plans may have convolutions by Winograd's F(2, 3); both readers of engine files agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from inception_fast.errors import EngineFileError, PlanError
from inception_fast.plan.plan import Axis, Convolution, ConvStep, Pair, Plan
from inception_fast.plan.serialize import plan_from_json, plan_to_json
from inception_fast.plan.winograd import winograd_taps
from tests.plan.conftest import Reader
from tests.plan.tiny_engine import edited, tiny_plan, winograd_plan

Taps = tuple[Pair, ...]


def rectangle(height: int, width: int, first: Pair = (0, 0)) -> Taps:
    return tuple((first[0] + y, first[1] + x) for y in range(height) for x in range(width))


def convolution(taps: Taps, stride: Pair = (1, 1)) -> Convolution:
    return Convolution("w", None, 1, 1, taps, stride, "s")


@pytest.mark.parametrize(
    ("extent", "axis", "lines", "triples", "singles", "products"),
    [
        ((3, 3), "horizontal", 3, 1, 0, 12),
        ((3, 3), "vertical", 3, 1, 0, 12),
        ((1, 7), "horizontal", 1, 2, 1, 10),
        ((7, 1), "vertical", 1, 2, 1, 10),
        ((5, 5), "vertical", 5, 1, 2, 40),
        ((4, 3), "vertical", 3, 1, 1, 18),
        ((4, 3), "horizontal", 4, 1, 0, 16),
        ((2, 8), "horizontal", 2, 2, 2, 24),
    ],
)
def test_taps_in_threes(extent: Pair, axis: Axis, lines: int, triples: int, singles: int, products: int) -> None:
    for first in ((0, 0), (-3, 2)):
        taps = winograd_taps(convolution(rectangle(*extent, first)), axis)
        assert taps is not None and (taps.extent, taps.first) == (extent, first)
        assert (taps.lines, taps.triples, taps.singles) == (lines, triples, singles)
        assert taps.weights == lines * (4 * triples + singles) and taps.products == products


@pytest.mark.parametrize(
    ("conv", "axis"),
    [
        (convolution(rectangle(3, 3), (1, 2)), "vertical"),
        (convolution(rectangle(3, 3), (2, 2)), "horizontal"),
        (convolution(rectangle(3, 2)), "horizontal"),
        (convolution(rectangle(1, 7)), "vertical"),
        (convolution(((0, 0),)), "horizontal"),
        (convolution(rectangle(3, 3)[:-1]), "horizontal"),
        (convolution(rectangle(3, 3)[1:]), "horizontal"),
        (convolution((*rectangle(3, 3)[:4], (9, 9), *rectangle(3, 3)[5:])), "vertical"),
        (convolution(rectangle(3, 3)[::-1]), "horizontal"),
        (convolution(tuple((x, y) for y, x in rectangle(3, 3))), "vertical"),
        (convolution(tuple((2 * y, 2 * x) for y, x in rectangle(3, 3))), "vertical"),
    ],
)
def test_taps_that_are_no_rectangle(conv: Convolution, axis: Axis) -> None:
    assert winograd_taps(conv, axis) is None


def with_conv(plan: Plan, **changes: Any) -> Plan:
    """``plan`` with changes to its first convolution."""
    first = plan.steps[0]
    assert isinstance(first, ConvStep)
    return replace(plan, steps=(replace(first, conv=replace(first.conv, **changes)), *plan.steps[1:]))


def transposed(plan: Any) -> None:
    plan["steps"][0]["conv"]["taps"] = [[x, y] for y, x in plan["steps"][0]["conv"]["taps"]]


def shorter(plan: Any) -> None:
    """Two columns of taps, along which there are no three."""
    conv = plan["steps"][0]["conv"]
    conv["taps"] = [tap for tap in conv["taps"] if tap[1] < 1]
    plan["constants"]["conv.weight"]["shape"][1] = 6


def in_conv(**changes: Any) -> Callable[[Any], None]:
    return lambda plan: plan["steps"][0]["conv"].update(changes)


BROKEN: dict[str, tuple[Callable[[Any], None], str]] = {
    "stride": (in_conv(stride=[2, 1]), "Winograd's"),
    "order of the taps": (transposed, "Winograd's"),
    "a hole": (lambda p: p["steps"][0]["conv"]["taps"].pop(4), "Winograd's"),
    "a tap elsewhere in its column": (lambda p: p["steps"][0]["conv"]["taps"][4].__setitem__(0, 7), "Winograd's"),
    "a tap elsewhere in its row": (lambda p: p["steps"][0]["conv"]["taps"][4].__setitem__(1, 7), "Winograd's"),
    "order within a row": (
        lambda p: p["steps"][0]["conv"]["taps"].insert(3, p["steps"][0]["conv"]["taps"].pop(4)),
        "Winograd's",
    ),
    "too short": (shorter, "Winograd's"),
    "too short along the other axis": (lambda p: p["steps"][3]["conv"].update(winograd="horizontal"), "Winograd's"),
    "no such axis": (in_conv(winograd="diagonal"), "[Ww]inograd"),
    "no axis at all": (in_conv(winograd=""), "[Ww]inograd"),
    "both axes": (in_conv(winograd=["vertical", "horizontal"]), "[Ww]inograd"),
    "a number": (in_conv(winograd=1), "[Ww]inograd"),
    "weights of the taps themselves": (
        lambda p: p["constants"]["conv.weight"].update(shape=[4, 9, 3]),
        "step conv: .*constant",
    ),
    "weights of lines of another length": (
        lambda p: p["constants"]["tall.weight"].update(shape=[4, 8, 4]),
        "step tall: .*constant",
    ),
    "weights without the axis": (lambda p: p["steps"][0]["conv"].pop("winograd"), "step conv: .*constant"),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_broken_rule(read: Reader, rule: str) -> None:
    change, message = BROKEN[rule]
    read(edited(lambda d: None, "winograd"))
    with pytest.raises(EngineFileError, match=message):
        read(edited(lambda d: change(d["plan"]), "winograd"))


def test_not_in_other_plans(read: Reader) -> None:
    """A rectangle of nine, weighed by twelve: all is right but the Plan's dtype."""

    def change(document: Any) -> None:
        document["plan"]["steps"][0]["conv"]["winograd"] = "horizontal"
        document["plan"]["constants"]["conv.weight"]["shape"] = [5, 12, 3]

    with pytest.raises(EngineFileError, match="Winograd's"):
        read(edited(change))
    with pytest.raises(PlanError, match=r"step conv: .*Winograd's F\(2, 3\)"):
        with_conv(tiny_plan(), winograd="horizontal")


def test_an_axis_that_is_none() -> None:
    with pytest.raises(PlanError, match=r"step conv: Winograd's F\(2, 3\) along 'diagonal'"):
        with_conv(winograd_plan(), winograd="diagonal")


def test_either_axis_of_a_square() -> None:
    turned = plan_from_json(plan_to_json(with_conv(winograd_plan(), winograd="vertical"))).steps[0]
    assert isinstance(turned, ConvStep) and turned.conv.winograd == "vertical"
