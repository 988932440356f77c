"""The six reference networks as Graphs, small and with parameters that keep every activation alive."""

from __future__ import annotations

from functools import cache
from math import sqrt

import torch
from torch import nn

from inception_fast.graph import ir
from inception_fast.graph.capture import capture
from inception_fast.models.googlenet import GoogLeNet
from inception_fast.models.inception_resnet import InceptionResnetV1, InceptionResnetV2
from inception_fast.models.inception_v2 import InceptionV2
from inception_fast.models.inception_v3 import InceptionV3
from inception_fast.models.inception_v4 import InceptionV4

FAMILIES: dict[str, tuple[type[nn.Module], tuple[int, int]]] = {
    "googlenet": (GoogLeNet, (65, 71)),
    "inception_v2": (InceptionV2, (65, 71)),
    "inception_v3": (InceptionV3, (75, 83)),
    "inception_v4": (InceptionV4, (75, 83)),
    "inception_resnet_v1": (InceptionResnetV1, (75, 83)),
    "inception_resnet_v2": (InceptionResnetV2, (75, 83)),
}


@cache
def family_graph(name: str) -> ir.Graph:
    """The captured network for odd, small images, with a classifier of 10."""
    build, size = FAMILIES[name]
    with torch.device("meta"):
        model = build(10)
    model = model.to_empty(device="cpu").float().eval()
    graph = capture(model, torch.zeros(2, 3, *size)).graph
    return ir.Graph(graph.nodes, graph.outputs, _lively_params(graph))


def _lively_params(graph: ir.Graph) -> dict[str, torch.Tensor]:
    """He initialisation, and normalisations of which no channel is trivial; what capture computed stays as it is."""
    generator = torch.Generator().manual_seed(0)

    def uniform(name: str, low: float, high: float) -> torch.Tensor:
        return torch.empty(graph.params[name].shape).uniform_(low, high, generator=generator)

    params = dict(graph.params)
    for op in (node.op for node in graph.nodes):
        match op:
            case ir.Conv2d() | ir.Linear():
                shape = graph.params[op.weight].shape
                params[op.weight] = torch.randn(shape, generator=generator) * sqrt(2 / shape[1:].numel())
                if op.bias is not None:
                    params[op.bias] = uniform(op.bias, -0.2, 0.2)
            case ir.BatchNorm():
                params[op.mean], params[op.var] = uniform(op.mean, -0.3, 0.3), uniform(op.var, 0.5, 2)
                if op.weight is not None and op.bias is not None:
                    params[op.weight], params[op.bias] = uniform(op.weight, 0.7, 1.5), uniform(op.bias, -0.3, 0.5)
    return params
