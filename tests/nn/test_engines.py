"""Many image sizes of one module: what they share, what they may hold, and that none waits for another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast.compilation import make_engine
from inception_fast.fast_model import FastModel
from inception_fast.models.layers import BasicConv2d
from inception_fast.nn import engines as engines_module
from inception_fast.nn import forms as forms_module
from tests.nn.modules import assert_same, lively

SHAPE = (2, 12, 7, 9)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[FastModel]:
    """Every FastModel made during the test."""
    made: list[FastModel] = []
    original = FastModel.__init__

    def note(self: FastModel, *args: object) -> None:
        original(self, *args)
        made.append(self)

    monkeypatch.setattr(FastModel, "__init__", note)
    return made


@pytest.fixture
def deep() -> nn.Module:
    """Has a convolution that ``cpu`` computes by Winograd's algorithm, where images are not tiny."""
    return lively(nn.Sequential(BasicConv2d(16, 64, kernel_size=1), BasicConv2d(64, 64, kernel_size=3, padding=1)))


class Held:
    """Stops whoever builds an engine for images of some width, until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.times = 0

        def held(captured: object, example: torch.Tensor, *args: object, **options: object) -> object:
            engine = make_engine(captured, example, *args, **options)
            if example.shape[3] == width:
                self.times += 1
                self.begun.set()
                assert self.go.wait(300)
            return engine

        monkeypatch.setattr(engines_module, "make_engine", held)


def in_thread(call: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    return thread, results


def of_three_engines(backend: str, **options: object) -> tuple[nn.Module, ifast.nn.ConvBNReLU]:
    """A layer whose engines are as large as the room for three of them, and the fast one."""
    layer = lively(BasicConv2d(3, 4, kernel_size=1))
    trial = ifast.nn.ConvBNReLU.from_torch(layer, backend=backend, **options)
    assert_same(trial, layer, 1, 3, 2, 1)
    fast = ifast.nn.ConvBNReLU.from_torch(layer, backend=backend, memory_limit=3 * trial.memory, **options)
    return layer, fast


@pytest.mark.parametrize("backend", ["cpu", "torch", "reference"])
def test_sizes_without_room_run_on_the_original(built: list[FastModel], backend: str) -> None:
    """No size is built anew because others came by; one warning says so, and results are right."""
    layer, fast = of_three_engines(backend)
    built.clear()
    with pytest.warns(
        UserWarning, match=r"3 image sizes hold 3 MiB.*memory_limit=\d+.* images of 3x2x4 run on"
    ) as said:
        for _ in range(20):
            for width in range(1, 8):
                assert_same(fast, layer, 1, 3, 2, width)
    assert len(said) == 1 and len(built) == 3 and fast.memory <= fast._engines.options.memory_limit
    assert fast.engine_for(torch.zeros(1, 3, 2, 1)) is fast.engine_for(torch.zeros(5, 3, 2, 1)) is not None
    assert fast.engine_for(torch.zeros(1, 3, 2, 7)) is None
    # There the original computes its gradients too.
    fast(torch.ones(1, 3, 2, 7)).sum().backward()
    assert layer.conv.weight.grad is not None
    # New weights, new room.
    with torch.no_grad():
        layer.conv.weight.mul_(2)
    assert_same(fast, layer, 1, 3, 2, 7)
    assert len(fast._engines) == 1 and fast.engine_for(torch.zeros(1, 3, 2, 7)) is built[-1]


def test_the_size_that_does_not_fit_is_built_once(deep: nn.Module, built: list[FastModel]) -> None:
    """What a size takes shows when it is built: here another layout of the weights."""
    trial = ifast.nn.InceptionBlock.from_torch(deep, backend="cpu")
    assert trial.engine_for(torch.zeros(1, 16, 24, 24)) is not None
    limit = trial.memory + deep[1].conv.weight.nbytes // 2 + forms_module._OVERHEAD
    fast = ifast.nn.InceptionBlock.from_torch(deep, backend="cpu", memory_limit=limit)
    built.clear()
    assert_same(fast, deep, 1, 16, 24, 24)
    with pytest.warns(UserWarning, match="images of 16x1x1 run on the original"):
        for size in (1, 2, 24):
            assert_same(fast, deep, 1, 16, size, size)
    assert len(built) == 2 and len(fast._engines) == 1 and fast.memory <= limit


@pytest.mark.filterwarnings("ignore:engines for")
@torch.no_grad()
def test_batch_invariance_is_kept_where_there_is_no_room(block: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """The original does not promise it."""
    seen: list[int] = []
    forward = BasicConv2d.forward

    def seeing(layer: BasicConv2d, x: torch.Tensor) -> torch.Tensor:
        if layer is block.branch1:
            seen.append(len(x))
        return forward(layer, x)

    fast = ifast.nn.InceptionBlock.from_torch(block, batch_invariant=True, memory_limit=0)
    fast(torch.randn(SHAPE))
    monkeypatch.setattr(BasicConv2d, "forward", seeing)
    x = torch.randn(5, 12, 6, 8)
    whole = fast(x)
    assert seen == [1] * 5
    for layout in (torch.contiguous_format, torch.channels_last):
        alone = [fast(image.contiguous(memory_format=layout)) for image in x.split(1)]
        assert torch.equal(torch.cat(alone), whole)
    assert len(fast._engines) == 1
    torch.testing.assert_close(whole, block(x), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:engines for")
def test_without_room_in_a_compiled_model(block: nn.Module) -> None:
    torch._dynamo.reset()
    fast = ifast.nn.InceptionBlock.from_torch(block, memory_limit=0)
    compiled = torch.compile(nn.Sequential(fast, nn.Tanh()), fullgraph=True, backend="aot_eager")
    for shape in [SHAPE, (2, 12, 8, 5)]:
        assert_same(compiled, nn.Sequential(block, nn.Tanh()), *shape)
    assert len(fast._engines) == 1


def test_a_size_costs_no_weights(deep: nn.Module) -> None:
    fast = ifast.nn.InceptionBlock.from_torch(deep, backend="cpu")
    memory = []
    for width in range(40, 52, 2):
        assert_same(fast, deep, 1, 16, 40, width)
        memory.append(fast.memory)
    engines = [fast.engine_for(torch.zeros(1, 16, 40, width)) for width in (40, 50)]
    weights = [next(iter(e.engine.constants.values())) for e in engines]
    assert weights[0] is weights[1]
    weight = deep[1].conv.weight.nbytes
    assert memory[0] > engines[0].weight_bytes + weight > 3 * weight
    assert {b - a for a, b in pairwise(memory)} == {forms_module._OVERHEAD}
    with torch.no_grad():
        deep[1].conv.weight.mul_(2)
    assert_same(fast, deep, 1, 16, 40, 50)
    assert fast.memory == memory[0]


def test_rounding_is_measured_once(block: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all images that are measured on smaller ones; its result is that of a measurement for each size."""
    from inception_fast.lowering import sensitivity

    monkeypatch.setattr(sensitivity, "MOST_SIDE", 8)
    measured, real = [], sensitivity._sensitivities
    monkeypatch.setattr(
        sensitivity, "_sensitivities", lambda g, *rest: measured.append(g.input.op.shape) or real(g, *rest)
    )
    fast = ifast.nn.InceptionBlock.from_torch(block, backend="cpu")
    for size in [(10, 9), (8, 12), (30, 8), (7, 20), (7, 8)]:
        x = torch.zeros(1, 12, *size)
        plan = fast.engine_for(x).plan
        count = len(measured)
        assert plan == ifast.optimize(block, x, backend="cpu").plan
        del measured[count:]
    assert measured == [(12, 8, 8), (12, 7, 8)]
    with torch.no_grad():
        block.branch1.conv.weight.mul_(2)
    fast.engine_for(torch.zeros(1, 12, 9, 9))
    assert measured[2:] == [(12, 8, 8)]


def test_known_sizes_go_on_while_one_is_built(block: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = ifast.nn.InceptionBlock.from_torch(block)
    assert_same(fast, block, *SHAPE)
    held = Held(monkeypatch, width=5)
    new = [in_thread(lambda: fast.engine_for(torch.zeros(1, 12, 7, 5))) for _ in range(2)]
    assert held.begun.wait(300)
    for seed in range(3):
        assert_same(fast, block, *SHAPE, seed=seed)
    assert not any(results for _, results in new) and fast.memory > 0
    held.go.set()
    for thread, _ in new:
        thread.join(300)
    # Two wanted it, and it was built once.
    assert held.times == 1 and new[0][1] == new[1][1] == [fast.engine_for(torch.zeros(1, 12, 7, 5))]
    assert_same(fast, block, 1, 12, 7, 5)


def test_weights_that_change_while_a_size_is_built(block: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = ifast.nn.InceptionBlock.from_torch(block)
    assert_same(fast, block, *SHAPE)
    held = Held(monkeypatch, width=5)
    thread, (results) = in_thread(lambda: fast.engine_for(torch.zeros(1, 12, 7, 5)))
    assert held.begun.wait(300)
    with torch.no_grad():
        block.branch1.conv.weight.mul_(3)
    known, (answers) = in_thread(lambda: assert_same(fast, block, *SHAPE))
    held.go.set()
    for waiting in (thread, known):
        waiting.join(300)
    assert held.times == 2 and len(answers) == 1
    assert results == [fast.engine_for(torch.zeros(1, 12, 7, 5))]
    assert_same(fast, block, 1, 12, 7, 5)


def test_weights_that_never_stay(block: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine is one for the weights of its time, and is not kept."""

    def changing(*args: object, **options: object) -> object:
        engine = make_engine(*args, **options)
        with torch.no_grad():
            block.branch1.conv.weight.add_(0)
        return engine

    monkeypatch.setattr(engines_module, "make_engine", changing)
    fast = ifast.nn.InceptionBlock.from_torch(block)
    assert_same(fast, block, *SHAPE)
    assert len(fast._engines) == 0


def test_a_failure_leaves_the_others(block: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = ifast.nn.InceptionBlock.from_torch(block)
    assert_same(fast, block, *SHAPE)
    engine = fast.engine_for(torch.zeros(SHAPE))

    def fails(*args: object, **options: object) -> object:
        raise MemoryError

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(engines_module, "make_engine", fails)
        fast(torch.zeros(1, 12, 3, 3))
    assert_same(fast, block, 1, 12, 3, 3)
    assert fast.engine_for(torch.zeros(SHAPE)) is engine


@pytest.mark.parametrize("limit", [-1, 1.5, "1 GiB", None])
def test_memory_limits_that_are_none(block: nn.Module, limit: object) -> None:
    with pytest.raises(ifast.InputError, match=r"memory_limit: got .*, expected bytes"):
        ifast.nn.InceptionBlock.from_torch(block, memory_limit=limit)


def test_threads(block: nn.Module, fast: nn.Module) -> None:
    """Several threads at several sizes, none of them built yet."""
    images = [torch.randn(1, 12, 5, 5 + i % 3) for i in range(12)]

    def run(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return fast(x)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(run, images))
    with torch.no_grad():
        for x, got in zip(images, results, strict=True):
            torch.testing.assert_close(got, block(x), rtol=1e-4, atol=1e-5)
