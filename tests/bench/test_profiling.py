"""Profiles name every step once, and their shares make a whole."""

from __future__ import annotations

import json
from functools import partial

import pytest

import inception_fast as ifast
from inception_fast.bench.profiling import Profile, chrome_trace, profile, timeline
from inception_fast.errors import InputError
from tests.api.fronts import FRONTS, network
from tests.bench.nets import images, small

MODEL = small()


@pytest.fixture(params=["torch", "reference", "cpu"])
def measured(request: pytest.FixtureRequest) -> tuple[ifast.FastModel, Profile]:
    availability = ifast.backends()[request.param]
    if not availability.available:
        pytest.skip(availability.reason)
    fast = ifast.optimize(MODEL, images(1), backend=request.param)
    return fast, profile(fast, images(2), rounds=3)


def test_every_step_is_there_in_order(measured: tuple[ifast.FastModel, Profile]) -> None:
    fast, found = measured
    assert tuple(s.step for s in found.steps) == fast.plan.step_names
    assert all(s.seconds.count == 3 and s.seconds.median > 0 for s in found.steps)
    assert found.whole.count == 3


def test_shares_sum_to_one(measured: tuple[ifast.FastModel, Profile]) -> None:
    assert sum(s.share for s in measured[1].steps) == pytest.approx(1)


def test_arithmetic_is_that_of_the_batch() -> None:
    fast = ifast.optimize(MODEL, images(1), backend="reference")
    stem = profile(fast, images(2), rounds=1).steps[0]
    assert stem.operations == 2 * 2 * 15 * 15 * 8 * 3 * 9


def test_images_that_are_not_numbers_in_planes() -> None:
    """As the model takes them; others would be read out of bounds."""
    front = FRONTS["channels last"]
    fast = ifast.optimize(network(front), front.images(1), backend="reference")
    assert isinstance(fast, ifast.FastModel)
    found = profile(fast, front.images(2), rounds=1)
    assert tuple(s.step for s in found.steps) == fast.plan.step_names
    planes = front.images(2).permute(0, 3, 1, 2)
    for wrong in (planes, front.images(2, height=18), front.images(2).float()):
        for look in (partial(profile, rounds=1), timeline):
            with pytest.raises(InputError, match=r"^x: got"):
                look(fast, wrong)


def test_a_trace_is_one_event_a_step_end_to_end(measured: tuple[ifast.FastModel, Profile]) -> None:
    steps = measured[1].steps
    trace = json.loads(json.dumps(chrome_trace(steps)))
    events = trace["traceEvents"]
    assert [e["name"] for e in events] == [s.step for s in steps]
    assert {e["ph"] for e in events} == {"X"}
    for before, after, step in zip(events, events[1:], steps, strict=False):
        assert after["ts"] == pytest.approx(before["ts"] + before["dur"])
        assert before["dur"] == pytest.approx(step.seconds.median * 1e6)
