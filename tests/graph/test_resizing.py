"""A further image size is what ``capture`` makes of it, exported again only where the model computes otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inception_fast.errors import CaptureError, InputError
from inception_fast.graph import resizing
from inception_fast.graph.branches import Call
from inception_fast.graph.capture import Captured, capture
from inception_fast.graph.interpreter import interpret
from inception_fast.graph.resizing import MOST_KNOWN, Captures
from inception_fast.models.googlenet import Inception
from inception_fast.models.layers import BasicConv2d

SIZES = [(17, 19), (16, 33), (20, 20), (19, 17)]
CHANNELS = 72
"""More than are written down of a constant."""


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.Size]]:
    """The shapes of the images that models were exported for."""
    seen: list[torch.Size] = []
    export = resizing.capture_anew

    def watched(model: nn.Module, example: Tensor, calls: list[Call] | None) -> object:
        seen.append(example.shape)
        return export(model, example, calls)

    monkeypatch.setattr(resizing, "capture_anew", watched)
    yield seen


class Layer(nn.Module):
    """A convolution and some function of its result."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, CHANNELS, 3)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.conv(x))


def network() -> nn.Module:
    """Convolutions, batch norms, pools, a concat, a linear layer and a size that only the batch decides."""
    torch.manual_seed(5)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(32, 5))
    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    parts = (BasicConv2d(3, 16, kernel_size=3, stride=2), pool, Inception(16, 8, 8, 8, 4, 8, 8), head)
    return nn.Sequential(*parts).eval()


def assert_same(found: Captured, wanted: Captured) -> None:
    assert found.graph.nodes == wanted.graph.nodes and found.graph.outputs == wanted.graph.outputs
    assert found.graph.shapes == wanted.graph.shapes and found.dtype == wanted.dtype
    assert found.structure.to_json() == wanted.structure.to_json()
    assert found.graph.params.keys() == wanted.graph.params.keys()
    for name, parameter in found.graph.params.items():
        assert parameter.dtype == wanted.graph.params[name].dtype and torch.equal(parameter, wanted.graph.params[name])


def test_a_size_is_what_capture_makes_of_it(exports: list[torch.Size]) -> None:
    model, captures = network(), Captures()
    for height, width in SIZES:
        x = torch.rand(3, 3, height, width)
        found = captures.capture(model, x)
        assert_same(found, capture(model, x))
        (result,) = interpret(found.graph, x.double())
        torch.testing.assert_close(result.float(), model(x), rtol=1e-5, atol=1e-6)
    assert len(exports) == 1


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.max_pool2d(F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2)), 2),
        lambda x: F.avg_pool2d(x, x.shape[2:]),
        lambda x: x.relu() if x.shape[3] > 16 else x * 2,
        lambda x: x * (1 / x.shape[2]),
        lambda x: x.reshape(x.shape[0], CHANNELS * x.shape[2] * x.shape[3]),
        lambda x: x + torch.full((CHANNELS, 1, 1), float(x.shape[2])),
    ],
    ids=["padding", "pool", "branch", "number", "reshape", "constant"],
)
def test_computing_with_the_size(function: Callable[[Tensor], Tensor], exports: list[torch.Size]) -> None:
    """Every size is served right; what differs from all sizes before is exported."""
    model, captures = Layer(function).eval(), Captures()
    for height, width in SIZES:
        x = torch.rand(2, 3, height, width)
        found = captures.capture(model, x)
        assert_same(found, capture(model, x))
        (result,) = interpret(found.graph, x.double())
        torch.testing.assert_close(result.float(), model(x), rtol=1e-5, atol=1e-5)
    assert len(exports) > 1


def test_a_size_like_an_earlier_one_is_known(exports: list[torch.Size]) -> None:
    """Behind others that it is not like."""
    model, captures = Layer(lambda x: x.relu() if x.shape[3] > 16 else x * 2).eval(), Captures()
    for width in (19, 17, 20, 16, 19):
        captures.capture(model, torch.zeros(1, 3, 9, width))
    assert [shape[3] for shape in exports] == [19, 17]


@pytest.mark.parametrize("is_tracing", [torch.jit.is_tracing, torch.compiler.is_compiling])
def test_other_operators_while_tracing(is_tracing: Callable[[], bool], exports: list[torch.Size]) -> None:
    """The same at one size, by a number that another size would not have: each size is exported."""
    model = Layer(lambda x: F.avg_pool2d(x, tuple(x.shape[2:])) if is_tracing() else x.mean((2, 3), True)).eval()
    captures = Captures()
    for height, width in SIZES:
        x = torch.rand(2, 3, height, width)
        (result,) = interpret(captures.capture(model, x).graph, x.double())
        torch.testing.assert_close(result.float(), model(x), rtol=1e-5, atol=1e-5)
    assert len(exports) == len(SIZES)


def test_several_images_of_some_sizes(exports: list[torch.Size]) -> None:
    """What is one image's alone at a further size is refused there, as ``capture`` does."""
    model = Layer(lambda x: x * 2 if len(x) > 1 and x.shape[2] > 16 else x.relu()).eval()
    captures = Captures()
    captures.capture(model, torch.zeros(1, 3, 17, 19))
    with pytest.raises(CaptureError, match="otherwise for one image than for several"):
        captures.capture(model, torch.zeros(1, 3, 20, 19))
    assert len(exports) == 2


def test_large_constants_made_in_each_call(exports: list[torch.Size]) -> None:
    """Their contents decide: memory of the one may be the other's."""
    model = Layer(lambda x: x * torch.from_numpy(np.full((CHANNELS, 1, 1), x.shape[2] // 16, "float32"))).eval()
    captures = Captures()
    for height in (17, 19, 34, 18):
        x = torch.rand(1, 3, height, 9)
        (result,) = interpret(captures.capture(model, x).graph, x.double())
        torch.testing.assert_close(result.float(), model(x), rtol=1e-5, atol=1e-5)
    assert [shape[2] for shape in exports] == [17, 19, 34]


def test_large_constants_that_are_not_the_models_parameters(exports: list[torch.Size]) -> None:
    """Two tables of one shape: their contents tell which of them is added."""
    tables = {15: torch.rand(CHANNELS, 1, 1), 16: torch.rand(CHANNELS, 1, 1)}
    model, captures = Layer(lambda x: x + tables[x.shape[2]]).eval(), Captures()
    for height in (17, 18, 17):
        x = torch.rand(1, 3, height, 9)
        (result,) = interpret(captures.capture(model, x).graph, x.double())
        torch.testing.assert_close(result.float(), model(x), rtol=1e-5, atol=1e-5)
    assert len(exports) == 2


def test_a_model_that_computes_otherwise_now(exports: list[torch.Size]) -> None:
    model, captures = network(), Captures()
    captures.capture(model, torch.zeros(1, 3, 17, 17))
    model[3][0] = nn.AdaptiveMaxPool2d(1)
    x = torch.rand(1, 3, 19, 19)
    assert_same(captures.capture(model, x), capture(model, x))
    assert len(exports) == 2


def test_sizes_that_the_model_refuses(exports: list[torch.Size]) -> None:
    """As ``capture`` says it, and the next size is served."""
    model, captures = network(), Captures()
    captures.capture(model, torch.zeros(1, 3, 17, 17))
    small = torch.zeros(1, 3, 2, 2)
    with pytest.raises(InputError) as wanted:
        capture(model, small)
    with pytest.raises(InputError) as found:
        captures.capture(model, small)
    assert str(found.value) == str(wanted.value)
    captures.capture(model, torch.zeros(1, 3, 18, 17))
    assert [tuple(shape[2:]) for shape in exports] == [(17, 17), (2, 2)]


def test_only_the_last_exports_are_kept(exports: list[torch.Size]) -> None:
    model, captures = Layer(lambda x: x * (1 / x.shape[2])).eval(), Captures()
    heights = range(9, 9 + MOST_KNOWN + 1)
    for height in (*heights, heights[-1], heights[0]):
        captures.capture(model, torch.zeros(1, 3, height, 9))
    assert [shape[2] for shape in exports] == [*heights, heights[0]]


def test_another_dtype_is_exported(exports: list[torch.Size]) -> None:
    """Of a model without parameters."""
    model, captures = nn.Sequential(nn.MaxPool2d(2), nn.ReLU()).eval(), Captures()
    for dtype in (torch.float32, torch.float64):
        assert captures.capture(model, torch.zeros(1, 3, 9, 9, dtype=dtype)).dtype == dtype
    assert len(exports) == 2
