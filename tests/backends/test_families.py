"""Every family on every backend, against the captured network in float64: the promise of the package."""

from __future__ import annotations

import pytest
import torch
from inception_fast.graph.capture import capture

from inception_fast.backends import get_backend
from inception_fast.graph import ir
from inception_fast.graph.interpreter import interpret
from inception_fast.graph.passes import optimize_graph
from inception_fast.models import create_model, list_models
from inception_fast.photos import load_photos
from inception_fast.plan.engine_file import PRECISIONS
from tests.backends.harness import assert_close, make_executor, run
from tests.graph.check import relative_error

FAMILY_SIZES = {"googlenet": 63, "inception_v2": 65, "inception_resnet_v1": 95}
"""Smallest sizes at which every layer has an image; 79 for the others."""


@pytest.fixture(scope="module")
def families() -> dict[str, tuple[torch.nn.Module, torch.Tensor, ir.Graph, torch.Tensor]]:
    """Each family at a small size: the model, photographs, its graph, and the truth in float64."""
    table = {}
    for name in list_models():
        model, x = create_model(name), load_photos(FAMILY_SIZES.get(name, 79), 2)
        graph = capture(model, x).graph
        (truth,) = interpret(graph, x.double())
        table[name] = (model, x, graph, truth)
    return table


@pytest.mark.parametrize("name", list_models())
def test_family(name: str, families: dict, backend: str, precision: str) -> None:
    """The promise: at most twice the error of PyTorch eager in the same precision, or 1e-5 in float32."""
    model, x, graph, truth = families[name]
    dtype = getattr(torch, PRECISIONS[precision])
    if backend == "reference" and precision == "fp16":
        pytest.skip("the reference rounds as in bf16, and float16 has nothing else of its own")
    with torch.no_grad():
        eager = create_model(name).to(dtype)(x.to(dtype)) if precision != "fp32" else model(x)
    bound = max(2 * relative_error(eager.double(), truth), 1e-5 if precision == "fp32" else 0.0)
    chosen = get_backend(backend)
    prepared, _ = optimize_graph(graph, chosen.lowering)
    assert_close(run(make_executor(backend, prepared, precision), prepared, x.to(dtype)), [truth], [bound])
