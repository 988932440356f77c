"""``optimize(..., sizes="any")``."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast.fast_model import FastModel
from inception_fast.models.googlenet import Inception
from inception_fast.models.layers import BasicConv2d
from tests.nn.modules import assert_same, lively

SHAPE = (2, 12, 7, 9)
OTHERS = [(1, 12, 5, 4), (3, 12, 18, 21), (2, 12, 1, 1)]


@pytest.fixture
def model() -> nn.Module:
    return lively(nn.Sequential(Inception(12, 4, 6, 8, 2, 4, 4), BasicConv2d(20, 6, kernel_size=3, padding=1)))


@pytest.fixture
def fast(model: nn.Module) -> FastModel:
    return ifast.optimize(model, torch.zeros(SHAPE), sizes="any")


@pytest.mark.parametrize("backend", ["cpu", "torch", "reference"])
@torch.no_grad()
def test_each_size_is_as_if_optimized_for_it(model: nn.Module, backend: str) -> None:
    fast = ifast.optimize(model, torch.zeros(SHAPE), sizes="any", backend=backend)
    for shape in [SHAPE, *OTHERS, SHAPE]:
        x = assert_same(fast, model, *shape)
        alone = ifast.optimize(model, x, backend=backend)
        assert torch.equal(fast(x), alone(x)) and torch.equal(fast.run_flat(x)[0], alone(x))
        out = torch.full_like(alone(x), torch.nan)
        assert fast(x, out=out) is out and torch.equal(out, alone(x))
        assert torch.equal(fast.static(x)(), alone(x))
        assert fast.engine_for(x) is fast.engine_for(x[:1])


def test_sizes_share_their_weights(fast: FastModel) -> None:
    first = fast.memory
    for width in (8, 10):
        fast(torch.zeros(1, 12, 7, width))
    assert first < fast.memory < first + 3 * 2**20
    common = set(fast.packed).intersection(fast.engine_for(torch.zeros(1, 12, 7, 8)).packed)
    assert sum(fast.packed[key] for key in common) > fast.weight_bytes / 2


@torch.no_grad()
def test_new_sizes_are_refused_once_the_model_has_other_weights(model: nn.Module, fast: FastModel) -> None:
    images = [torch.randn(s) for s in (SHAPE, OTHERS[0])]
    expected = [fast(x).clone() for x in images]
    model[1].conv.weight.mul_(2)
    with pytest.raises(ifast.InputError, match="x: got images of a new size, and the model's weights have changed"):
        fast(torch.randn(OTHERS[1]))
    for x, result in zip(images, expected, strict=True):
        assert torch.equal(fast(x), result)


@torch.no_grad()
def test_files_and_copies_have_the_size_of_the_example(fast: FastModel, tmp_path: Path) -> None:
    x, other = torch.randn(SHAPE), torch.randn(OTHERS[0])
    fast(other)
    fast.save(tmp_path / "m.ifast")
    for twin in (ifast.load(tmp_path / "m.ifast"), copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert torch.equal(twin(x), fast(x))
        with pytest.raises(ifast.InputError, match="image size differs"):
            twin(other)
    fast.load_state_dict(ifast.optimize(lively(BasicConv2d(12, 5, kernel_size=1)), x).state_dict())
    assert fast(x).shape[1] == 5
    with pytest.raises(ifast.InputError, match="it was loaded"):
        fast(other)


@torch.no_grad()
def test_in_a_compiled_graph_the_size_is_the_example_s(model: nn.Module, fast: FastModel) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(nn.Sequential(fast, nn.Tanh()), fullgraph=True, backend="aot_eager", dynamic=False)
    x = torch.randn(SHAPE)
    assert torch.equal(compiled(x), fast(x).tanh())


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 11, 7, 8), r"x: got shape \[2, 11, 7, 8\], expected \[N, 12, 7, 9\]"),
        (torch.zeros(12, 7, 8), "x: got rank 3"),
        (torch.zeros(1, 12, 7, 8, dtype=torch.float64), r"expected \[N, 12, 7, 9\]|x: got torch.float64"),
        (torch.zeros(1, 12, 0, 8), r"x: got shape"),
        (None, "x: got NoneType"),
    ],
)
def test_bad_input(fast: FastModel, x: object, message: str) -> None:
    with pytest.raises(ifast.InputError, match=message):
        fast(x)
    fast.train()
    with pytest.raises(ifast.InputError):
        fast(torch.zeros(1, 12, 7, 8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": "all"}, "sizes: got 'all', expected 'example' or 'any'"),
        ({"sizes": "any", "precision": "int8"}, "precision: got 'int8'"),
        ({"sizes": "any", "accuracy": "fast"}, "accuracy: got 'fast', expected 'promise' where"),
        ({"sizes": "any", "memory_limit": -1}, "memory_limit: got -1"),
        ({"memory_limit": 1}, "memory_limit: got 1, expected None, or sizes='any'"),
    ],
)
def test_bad_options(model: nn.Module, options: dict[str, object], message: str) -> None:
    with pytest.raises(ifast.InputError, match=message):
        ifast.optimize(model, torch.zeros(SHAPE), **options)
    with pytest.raises(ifast.InputError, match="example_inputs"):
        ifast.optimize(model, torch.zeros(2, 12, 0, 9), sizes="any")


def test_beyond_the_limit(model: nn.Module) -> None:
    fast = ifast.optimize(model, torch.zeros(SHAPE), sizes="any", memory_limit=0)
    assert_same(fast, model, *SHAPE)
    with pytest.raises(
        ifast.InputError, match=r"no room, expected one of the sizes before it, or a larger memory_limit"
    ):
        fast(torch.zeros(OTHERS[0]))
    assert_same(fast, model, *SHAPE)
