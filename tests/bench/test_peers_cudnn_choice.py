"""How cuDNN's peer chooses among the plans of a library, on one whose plans and times are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from inception_fast.bench.peers import cudnn as peer
from inception_fast.bench.peers.cudnn_problem import Problem, Uid
from inception_fast.bench.peers.cudnn_steps import Run


class Refused(Exception):
    pass


class FakeGraph:
    """Plans as a list of (seconds, bytes of workspace), or None where the plan cannot be built."""

    def __init__(self, plans: list[tuple[float, int] | None]) -> None:
        self.plans, self.executed, self.deselected = plans, [], []

    def validate(self) -> None: ...
    def build_operation_graph(self) -> None: ...
    def create_execution_plans(self, modes: list[str]) -> None:
        if not self.plans:
            raise Refused("no engine\nand a second line")

    def deselect_numeric_notes(self, notes: list[str]) -> None:
        self.deselected += notes

    def get_execution_plan_count(self) -> int:
        return len(self.plans)

    def build_plan_at_index(self, index: int) -> None:
        if self.plans[index] is None:
            raise Refused("not this one")

    def get_workspace_size_plan_at_index(self, index: int) -> int:
        return self.plans[index][1]  # type: ignore[index]

    def execute_plan_at_index(self, pack: dict[int, Any], workspace: torch.Tensor, index: int, handle: object) -> None:
        assert handle == "handle" and workspace.numel() >= self.plans[index][1]  # type: ignore[index]
        self.executed.append((index, sorted(pack)))


FAKE = SimpleNamespace(
    cudnnGraphNotSupportedError=Refused,
    heur_mode=SimpleNamespace(A="A", B="B"),
    numerical_note=SimpleNamespace(TENSOR_CORE="tensor core"),
    create_handle=lambda: "handle",
    set_stream=lambda handle, stream: None,
)
TENSORS = {Uid.IMAGE: torch.zeros(1), Uid.OUTPUT: torch.zeros(1)}


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch):
    """``library(graph, exact)``: one that describes every problem as that graph and times plans by its list."""

    def make(graph: FakeGraph, exact: bool = False) -> peer.Library:
        def seconds(run: Run) -> float:
            run()
            index, _ = graph.executed.pop()
            return graph.plans[index][0]  # type: ignore[index]

        monkeypatch.setattr(peer, "describe", lambda *_, **__: graph)
        monkeypatch.setattr(peer, "seconds", seconds)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=0))
        return peer.Library(FAKE, torch.float16, exact)

    return make


def problem(relu: bool = False) -> Problem:
    return Problem((), (1, 1), (0, 0), (0, 0), relu)


def test_the_fastest_plan_that_can_be_built_is_kept(library) -> None:
    graph = FakeGraph([(3.0, 0), None, (1.0, 1000), (2.0, 10), (0.5, peer.LARGEST_WORKSPACE + 1)])
    chooser = library(graph)
    chooser.make(problem(), TENSORS)()
    assert graph.executed == [(2, [Uid.IMAGE, Uid.OUTPUT])] and not graph.deselected


def test_equal_problems_are_tried_once(library) -> None:
    graph = FakeGraph([(1.0, 0)])
    chooser = library(graph)
    chooser.make(problem(), TENSORS)
    graph.plans = []
    chooser.make(problem(), TENSORS)
    with pytest.raises(NotImplementedError, match=r"no engine$"):
        chooser.make(problem(relu=True), TENSORS)


def test_exact_products_leave_out_tensor_cores(library) -> None:
    graph = FakeGraph([(1.0, 0)])
    library(graph, exact=True).make(problem(), TENSORS)
    assert graph.deselected == ["tensor core"]


def test_no_plan_that_can_be_built(library) -> None:
    with pytest.raises(NotImplementedError, match="no plan"):
        library(FakeGraph([None, None])).make(problem(), TENSORS)
