"""A Plan that shows its steps, and the search for the first that is wrong."""

from __future__ import annotations

import pytest
import torch

import inception_fast as ifast
from inception_fast.backends import get_backend
from inception_fast.bench.observe import first_divergence, observed
from inception_fast.errors import InputError
from inception_fast.graph.capture import capture
from inception_fast.graph.passes import optimize_graph
from inception_fast.plan.plan import destinations_of
from tests.api.fronts import FRONTS, network
from tests.bench.nets import SIZE, images, small
from tests.bench.planted import plant

MODEL = small()
STEPS = ifast.optimize(MODEL, images(1), backend="torch").plan.step_names


def divergence(precision: str):
    graph, _ = optimize_graph(capture(MODEL, images(1)).graph, get_backend("torch").lowering)
    fast = ifast.optimize(MODEL, images(1), precision=precision, backend="torch")
    return first_divergence(graph, fast, images(2))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_backend_without_a_fault_agrees_at_every_step(precision: str) -> None:
    assert divergence(precision) is None


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_images_that_are_not_numbers_in_planes(precision: str) -> None:
    front = FRONTS["channels last"]
    model, lowering = network(front), get_backend("torch").lowering
    graph, _ = optimize_graph(capture(model, front.images(1)).graph, lowering)
    fast = ifast.optimize(model, front.images(1), precision=precision, backend="torch")
    assert isinstance(fast, ifast.FastModel)
    assert first_divergence(graph, fast, front.images(2)) is None
    with pytest.raises(InputError, match="x: got shape"):
        first_divergence(graph, fast, front.images(2).permute(0, 3, 1, 2))


@pytest.mark.parametrize("step", STEPS)
def test_a_fault_is_found_where_it_is(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, step)
    found = divergence("fp32")
    assert found is not None
    assert found.step == step
    assert found.error > found.bound


def test_an_observed_plan_returns_what_every_step_wrote() -> None:
    fast = ifast.optimize(MODEL, images(1), backend="reference")
    plan, x = fast.plan, images(2)
    reference = get_backend("reference")
    compiled = {"device": x.device, "precision": "fp32"}
    shown = iter(reference.compile(observed(plan), fast.engine.constants, **compiled).run(x))
    executor = reference.compile(plan, fast.engine.constants, **compiled)
    for step in plan.steps:
        expected = executor.run_until(x, step.name)
        assert len(expected) == len(destinations_of(step))
        for tensor in expected:
            assert torch.equal(next(shown), tensor)
    assert next(shown, None) is None


def test_the_example_has_what_the_test_is_about() -> None:
    plan = ifast.optimize(MODEL, torch.zeros(1, 3, SIZE, SIZE), backend="reference").plan
    assert {s.kind for s in plan.steps} == {"conv", "pair", "pool"}
    assert any(getattr(s, "residual", None) for s in plan.steps)
    assert any(len(destinations_of(s)) > 1 for s in plan.steps)
