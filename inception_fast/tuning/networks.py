"""The Plans that the Triton backend gets, of networks by name and of engine files."""

from __future__ import annotations

from pathlib import Path

import torch

from inception_fast.plan.engine_file import PRECISIONS, read_engine
from inception_fast.plan.plan import Plan


def plan_for_triton(model: str, size: int | None, precision: str) -> tuple[Plan, dict[str, torch.Tensor]]:
    """A Plan and its constants.

    Args:
        model: a network's name, or the path of an engine file, whose Plan is taken as it is.
        size: side of the images, by default the model's own.
    """
    from inception_fast.backends import get_backend
    from inception_fast.bench.targets import load_target
    from inception_fast.graph.capture import capture
    from inception_fast.graph.passes import optimize_graph
    from inception_fast.lowering.lower import lower

    if Path(model).is_file():
        engine = read_engine(model)
        return engine.plan, dict(engine.constants)
    target = load_target(model, size)
    graph = capture(target.model, torch.zeros(1, 3, target.size, target.size)).graph
    return lower(optimize_graph(graph, get_backend("triton").lowering)[0], PRECISIONS[precision])
