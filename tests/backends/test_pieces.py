"""Batches that are run in pieces come back whole and in order."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import pytest
import torch

from inception_fast.backends import get_backend
from inception_fast.backends.pieces import run_pieces
from inception_fast.graph.interpreter import interpret
from tests.backends.cases import CASES
from tests.backends.harness import CPU, assert_close, lowered, make_executor, network_input, run
from tests.graph.build import Build

torch_backend = importlib.import_module("inception_fast.backends.torch")
needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="needs oneDNN")


def test_results_are_put_together_in_order() -> None:
    x = torch.arange(5.0).view(5, 1)
    seen: list[int] = []

    def forward(piece: torch.Tensor) -> list[torch.Tensor]:
        seen.append(len(piece))
        return [piece * 2, piece + 1]

    doubled, next_one = run_pieces(forward, x.chunk(2))
    assert seen == [3, 2]
    assert torch.equal(doubled, x * 2) and torch.equal(next_one, x + 1)


@pytest.mark.parametrize("batch", [1, 4, 7])
@pytest.mark.parametrize("name", ["merged_siblings", "pools_in_concat", "repeated_outputs"])
def test_torch_backend_takes_batches_apart(name: str, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole network in pieces, and its first steps in smaller ones."""
    graph = CASES[name]()
    executor, x = make_executor("torch", graph), network_input(graph, batch=batch)
    largest = 4 * max(b.size for b in executor._plan.buffers)  # type: ignore[attr-defined]
    monkeypatch.setattr(torch_backend, "PIECE_BYTES", 5 * largest)
    monkeypatch.setattr(torch_backend, "STEM_BYTES", 2 * largest)
    truth = interpret(graph, x.double())
    assert_close(run(executor, graph, x), truth, [5e-6] * len(truth))
    pieces = [len(p) for p in executor._pieces(x)]  # type: ignore[attr-defined]
    assert sum(pieces) == batch and len(pieces) == (2 if batch > 5 else 1)


def test_the_stem_ends_where_activations_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    build = Build(3, 16, 16)
    wide = build.conv("x", 40, (3, 3), relu=True)
    small = build.conv(wide, 8, (3, 3), stride=(2, 2), relu=True)
    build.conv(build.conv(small, 8, relu=True), 8, (3, 3))
    graph = build.graph()
    executor, x = make_executor("torch", graph), network_input(graph, batch=8)
    monkeypatch.setattr(torch_backend, "STEM_BYTES", 8 * 40 * 16 * 16 * 4 - 1)
    assert executor._stem(x) == 2  # type: ignore[attr-defined]
    # A profile is of the whole batch, with one time for each step.
    assert [time.step for time in executor.profile(x)] == list(executor._plan.step_names)  # type: ignore[attr-defined]
    monkeypatch.setattr(torch_backend, "STEM_BYTES", 8 * 40 * 16 * 16 * 4)
    assert executor._stem(x) == 0  # type: ignore[attr-defined]


@needs_onednn
def test_the_stem_in_smaller_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parts are put together for the steps behind it, which read the whole input too."""
    build = Build(3, 16, 16)
    wide = build.conv("x", 40, (3, 3), relu=True)
    small = build.conv(wide, 8, (3, 3), stride=(2, 2), relu=True)
    again = build.conv("x", 8, (3, 3), stride=(2, 2))
    build.conv(small, 8, residual=again)
    graph = build.graph()
    executor, x = make_executor("torch", graph), network_input(graph, batch=8)
    monkeypatch.setattr(torch_backend, "STEM_BYTES", 8 * 40 * 16 * 16 * 4 // 2)
    runs, seen = executor._runs_of("batch"), []  # type: ignore[attr-defined]
    stem = executor._stem(x)  # type: ignore[attr-defined]

    def watched(index: int, run: Callable[..., None]) -> Callable[..., None]:
        def watch(buffers: list[torch.Tensor]) -> None:
            seen.append((index, len(buffers[executor._plan.input])))  # type: ignore[attr-defined]
            run(buffers)

        return watch

    runs[:] = [watched(i, r) for i, r in enumerate(runs)]
    got = executor.run(x)
    assert 0 < stem < len(runs)
    steps = [(i, images) for images in (4, 4) for i in range(stem)]
    assert seen == [*steps, *((i, 8) for i in range(stem, len(runs)))]
    truth = interpret(graph, x.double())
    assert_close(got, truth, [5e-6] * len(truth))


@needs_onednn
def test_how_a_batch_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """One image and several have kernels of their own, of which a single image's are made at once."""
    graph = CASES["merged_siblings"]()
    batches: list[int] = []
    run_pass = torch_backend.TorchExecutor._pass

    def counted(self: object, x: torch.Tensor, *rest: object) -> list[torch.Tensor]:
        batches.append(len(x))
        return run_pass(self, x, *rest)  # type: ignore[no-any-return]

    monkeypatch.setattr(torch_backend.TorchExecutor, "_pass", counted)
    executor, x = make_executor("torch", graph), network_input(graph, batch=3)
    assert set(executor._variants) == {"image"}  # type: ignore[attr-defined]
    executor.run(x[:1])
    assert set(executor._variants) == {"image"}  # type: ignore[attr-defined]
    executor.run(x[:2])
    assert set(executor._variants) == {"image", "batch"}  # type: ignore[attr-defined]
    executor.run(x)
    make_executor("torch", graph, batch_invariant=True).run(x)
    plan, constants = lowered(graph, "fp32")
    torch_backend.TorchExecutor(plan, constants, CPU).run(x)
    assert batches == [1, 2, 3, 1, 1, 1, 3]


def test_whether_products_may_be_rounded() -> None:
    plan, constants = lowered(CASES["conv_1x1"](), "fp32")
    for precision, allowed in (("fp32", False), ("tf32", True)):
        executor = get_backend("torch").compile(plan, constants, device=CPU, precision=precision)
        assert executor._allow_tf32 is allowed  # type: ignore[attr-defined]
    assert torch_backend.TorchExecutor(plan, constants, CPU)._allow_tf32 is False
