"""Batches that are run in pieces come back whole and in order."""

from __future__ import annotations

import importlib

import pytest
import torch

from inception_fast.backends.pieces import run_pieces
from inception_fast.graph.interpreter import interpret
from tests.backends.cases import CASES
from tests.backends.harness import assert_close, make_executor, network_input, run

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
def test_torch_backend_keeps_activations_small(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = CASES["merged_siblings"]()
    largest = 29 * 9 * 7 * 4
    monkeypatch.setattr(torch_backend, "PIECE_BYTES", 3 * largest)
    executor, x = make_executor("torch", graph), network_input(graph, batch=batch)
    pieces = [len(p) for p in executor._pieces(x)]  # type: ignore[attr-defined]
    assert sum(pieces) == batch and max(pieces) <= 3
    truth = interpret(graph, x.double())
    assert_close(run(executor, graph, x), truth, [5e-6] * len(truth))
