"""``len(x)`` leaves the batch size open, and is what it always was everywhere else."""

from __future__ import annotations

import builtins
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode, ShapeEnv

from inception_fast.errors import CaptureError
from inception_fast.graph.capture import capture
from inception_fast.graph.interpreter import interpret
from inception_fast.graph.lengths import lengths_are_sizes


class Flat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(4 * 5 * 6, 7)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.linear(y.view(len(y), -1))


class Alone(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.relu() if len(x) == 1 else x * 2


@pytest.mark.parametrize("batch", [1, 4])
def test_any_batch(batch: int) -> None:
    model = Flat().eval()
    graph = capture(model, torch.zeros(2, 3, 7, 8)).graph
    x = torch.rand(batch, 3, 7, 8)
    (found,) = interpret(graph, x.double())
    torch.testing.assert_close(found.float(), model(x), rtol=1e-5, atol=1e-6)


def test_a_branch_on_it_is_refused() -> None:
    with pytest.raises(CaptureError, match="for one image than for several"):
        capture(Alone().eval(), torch.zeros(2, 3, 5, 5))


def test_what_else_has_a_length() -> None:
    """In the thread that traces and in others."""
    things = ([1, 2], "abc", {}, torch.zeros(4, 2), range(5))
    before = builtins.len
    with lengths_are_sizes(), ThreadPoolExecutor(1) as pool:
        for lengths in ([len(thing) for thing in things], list(pool.map(lambda thing: len(thing), things))):
            assert lengths == [2, 3, 0, 4, 5] and all(type(n) is int for n in lengths)
        for wrong in (torch.zeros(()), 3):
            with pytest.raises(TypeError):
                len(wrong)  # type: ignore[arg-type]
    assert builtins.len is before


def test_another_thread_that_traces_has_numbers() -> None:
    """Which there are none of where a size follows from values."""
    with FakeTensorMode(shape_env=(sizes := ShapeEnv())):
        x = torch.empty(sizes.create_unbacked_symint(), 3)
    with lengths_are_sizes(), ThreadPoolExecutor(1) as pool:
        assert isinstance(len(x), torch.SymInt)
        with pytest.raises(GuardOnDataDependentSymNode):
            pool.submit(lambda: len(x)).result()
