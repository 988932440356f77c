"""Where a Plan's steps read and write: orders, channels and memory that are close to a wrong one; images that are no
squares.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from inception_fast.errors import PlanError
from inception_fast.plan.check import _Channels
from inception_fast.plan.plan import Buffer, Destination, Output, PairStep, Plan, PointwiseStep, PoolStep, Slice
from tests.plan.test_check import in_quantized, large_average, with_step
from tests.plan.tiny_engine import quantized_plan, tiny_plan


def tall_plan() -> Plan:
    """:func:`tiny_plan` of images of 6x4 pixels, whose pools take the sides apart; two live buffers touch."""
    sides = {"x": (6, 4), "block": (6, 4), "pooled": (3, 4), "scaled": (3, 4), "resized": (6, 4), "map": (6, 4)}
    offsets = {"pooled": 192}
    plan = tiny_plan()
    buffers = []
    for b in plan.buffers:
        height, width = sides.get(b.name, (1, 1))
        buffers.append(replace(b, height=height, width=width, offset=offsets.get(b.name, b.offset)))
    steps = list(plan.steps)
    assert isinstance(steps[1], PairStep) and isinstance(steps[2], PoolStep) and isinstance(steps[5], PoolStep)
    steps[1] = replace(steps[1], middle_width=4)
    steps[2] = replace(steps[2], kernel=(3, 1), stride=(2, 1), padding=(1, 0), padding_end=(1, 0))
    steps[5] = replace(steps[5], kernel=(3, 4))
    return replace(plan, buffers=tuple(buffers), steps=tuple(steps), arena=320)


def test_images_that_are_no_squares() -> None:
    plan = tall_plan()
    assert len(plan.steps) == 7
    turned = replace(plan.buffers[5], height=4, width=6)
    with pytest.raises(PlanError, match="step normalize: changes the image size"):
        replace(plan, buffers=(*plan.buffers[:5], turned, plan.buffers[6]))


def test_an_output_may_be_the_first_buffer() -> None:
    buffers = (Buffer("y", 1, 1, 1, "output"), Buffer("x", 1, 1, 1, "input"))
    step = PointwiseStep("copy", Slice(1, 0, 1), Destination(Slice(0, 0, 1), True), None, None)
    assert Plan("float32", buffers, (step,), ((0,),), {}, (Output(0, True),), 0).input == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "sum"}, "step pool: mode sum, divisor window"),
        ({"divisor": "all"}, "step pool: mode avg, divisor all"),
        ({"stride": (2, 3), "padding": (1, 0)}, "step pool: a window lies outside"),
    ],
)
def test_pools(changes: dict[str, object], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        replace(tiny_plan(), **with_step("pool", **changes))


def test_long_averages_of_floats() -> None:
    changes = large_average(4096, (2049, 4096))
    buffers = tuple(replace(b, scale=None, zero=0) for b in changes["buffers"])
    assert replace(quantized_plan(), **{**changes, "buffers": buffers, "dtype": "float32"}).dtype == "float32"


def test_the_last_channels_are_read_before_they_are_written() -> None:
    with pytest.raises(PlanError, match="step pool: reads block before it is written"):
        replace(tiny_plan(), stages=((0,), (1, 2), (3,), (4, 5), (6,)))


def test_the_first_channel_is_never_written() -> None:
    changes = with_step("normalize", source=Slice(4, 1, 7), destination=Destination(Slice(5, 1, 7), False))
    with pytest.raises(PlanError, match="buffer map: some channels are never written"):
        replace(tiny_plan(), **changes)


def test_neighbours_share_memory() -> None:
    with pytest.raises(PlanError, match="buffers block and pooled share memory"):
        replace(quantized_plan(), **in_quantized(2, offset=128))


@pytest.mark.parametrize("seed", range(40))
def test_runs_of_channels(seed: int) -> None:
    """As a set of numbers would have them."""
    rng, runs, numbers = random.Random(seed), _Channels(), set[int]()
    for _ in range(12):
        start = rng.randrange(20)
        added = set(range(start, start + rng.randrange(1, 6)))
        assert runs.contains(min(added), max(added) + 1) == (added <= numbers)
        assert runs.add(min(added), max(added) + 1) == added.isdisjoint(numbers)
        if added.isdisjoint(numbers):
            numbers |= added
        assert runs.starts == [n for n in range(30) if n in numbers and n - 1 not in numbers]
        assert runs.ends == [n for n in range(30) if n not in numbers and n - 1 in numbers]
