"""Networks at their own image sizes through the kernels, against the captured model in float64."""

from __future__ import annotations

import pytest
import torch

from inception_fast.backends import get_backend
from inception_fast.graph.capture import capture
from inception_fast.graph.interpreter import interpret
from inception_fast.graph.passes import optimize_graph
from inception_fast.lowering.lower import lower
from inception_fast.models import create_model
from inception_fast.photos import load_photos
from tests.graph.check import relative_error
from tests.triton.exact import DEVICE, requires_triton

pytestmark = [*requires_triton, pytest.mark.slow]


@pytest.mark.parametrize(("name", "size"), [("inception_v3", 299), ("googlenet", 224)])
def test_own_image_size(name: str, size: int) -> None:
    model, x = create_model(name), load_photos(size, 1)
    graph = capture(model, x).graph
    (truth,) = interpret(graph, x.double())
    backend = get_backend("triton")
    plan, constants = lower(optimize_graph(graph, backend.lowering)[0], "float32")
    (got,) = backend.compile(plan, constants, device=DEVICE, precision="fp32").run(x.to(DEVICE))
    assert torch.isfinite(got).all()
    assert relative_error(got.cpu().double().flatten(1), truth.flatten(1)) < 1e-5
