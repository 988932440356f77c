"""Batches that are run in pieces come back whole and in order."""

from __future__ import annotations

import importlib

import pytest
import torch

from inception_fast.backends.pieces import run_pieces
from inception_fast.graph.interpreter import interpret
from tests.backends.cases import CASES
from tests.backends.harness import assert_close, make_executor, network_input, run
from tests.graph.build import Build

torch_backend = importlib.import_module("inception_fast.backends.torch")


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
    monkeypatch.setattr(torch_backend, "STEM_BYTES", 8 * 40 * 16 * 16 * 4)
    assert executor._stem(x) == 0  # type: ignore[attr-defined]
