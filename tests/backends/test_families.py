"""Every family on every backend, against the captured network in float64: the promise of the package."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import pytest
import torch

from inception_fast.backends import Lowering, get_backend
from inception_fast.graph import ir
from inception_fast.graph.capture import capture
from inception_fast.graph.interpreter import interpret
from inception_fast.graph.passes import optimize_graph
from inception_fast.models import create_model, list_models
from inception_fast.photos import load_photos
from inception_fast.plan.engine_file import PRECISIONS
from tests.backends.harness import assert_close, make_executor, run
from tests.graph.check import relative_error

SIZES = {"googlenet": 63, "inception_v2": 65, "inception_resnet_v1": 95}
"""Smallest sizes at which every layer has an image; 79 for the others."""


@dataclass(frozen=True)
class Family:
    """A network at a small size: photographs, its graph, the truth, and eager PyTorch's error by precision."""

    x: torch.Tensor
    graph: ir.Graph
    truth: torch.Tensor
    eager_error: dict[str, float]


@cache
def family(name: str) -> Family:
    model, x = create_model(name), load_photos(SIZES.get(name, 79), 2)
    graph = capture(model, x).graph
    (truth,) = interpret(graph, x.double())
    errors = {}
    with torch.no_grad():
        for precision in ("fp32", "bf16"):
            dtype = getattr(torch, PRECISIONS[precision])
            errors[precision] = relative_error(model.to(dtype)(x.to(dtype)).double(), truth)
    return Family(x, graph, truth, errors)


@cache
def prepared(name: str, lowering: Lowering) -> ir.Graph:
    return optimize_graph(family(name).graph, lowering)[0]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", list_models())
def test_family(name: str, precision: str, backend: str) -> None:
    """At most twice the error of PyTorch eager in the same precision, or 1e-5 in float32."""
    net = family(name)
    bound = max(2 * net.eager_error[precision], 1e-5 if precision == "fp32" else 0.0)
    graph = prepared(name, get_backend(backend).lowering)
    x = net.x.to(getattr(torch, PRECISIONS[precision]))
    assert_close(run(make_executor(backend, graph, precision), graph, x), [net.truth], [bound])
