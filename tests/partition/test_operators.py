"""An operator that no step does, between two parts that are served: PyTorch computes it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import inception_fast
from tests.graph.check import relative_error

OPERATORS: dict[str, Callable[[Tensor], Tensor]] = {
    "leaky relu": lambda x: F.leaky_relu(x, 0.1),
    "generalised mean": lambda x: F.adaptive_avg_pool2d(x.clamp(min=1e-6).pow(3), 4).pow(1 / 3),
    "uneven adaptive average": lambda x: F.adaptive_avg_pool2d(x, (3, 5)),
    "uneven adaptive maximum": lambda x: F.adaptive_max_pool2d(x, (5, 3)),
    "padding with minus infinity": lambda x: F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=float("-inf")), 3, 2),
}


class Between(nn.Module):
    def __init__(self, operator: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 1))
        self.after = nn.Sequential(nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 5, 1))
        self.operator = operator

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.operator(self.before(x)))


@pytest.mark.parametrize("backend", ["cpu", "torch", "reference"])
@pytest.mark.parametrize("name", OPERATORS)
@torch.no_grad()
def test_between_two_parts(name: str, backend: str) -> None:
    torch.manual_seed(0)
    model, x = Between(OPERATORS[name]).eval(), torch.randn(3, 3, 18, 16)
    fast = inception_fast.optimize(model, x[:1], backend=backend)
    got = fast(x)
    truth = model.double()(x.double())
    assert relative_error(got.double(), truth) < 2e-6
