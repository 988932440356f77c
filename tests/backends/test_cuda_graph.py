"""CUDA graphs of an executor, with recordings that are functions, of tensors on the CPU: what is kept and copied."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch

from inception_fast.backends import cuda_graph
from inception_fast.backends.base import Executor, Out
from inception_fast.backends.cuda_graph import MAX_GRAPHS, CudaGraphs
from inception_fast.backends.reference import ReferenceExecutor
from tests.backends.cases import CASES
from tests.backends.harness import CPU, lowered, network_input

GRAPH = CASES["embedding_head"]()
PLAN, CONSTANTS = lowered(GRAPH, "fp32")


class Counting(Executor):
    """An executor that notes the inputs that it gets."""

    driver = "some driver"

    def __init__(self) -> None:
        self.seen: list[tuple[torch.Tensor, Out | None]] = []
        self._executor = ReferenceExecutor(PLAN, CONSTANTS, CPU)

    def run(self, x: torch.Tensor, out: Out | None = None) -> list[torch.Tensor]:
        self.seen.append((x, out))
        return self._executor.run(x, out)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """CUDA's state as PyTorch would tell it."""
    world = SimpleNamespace(stream=1, capturing=False)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: world.capturing)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=world.stream))

    def record(run: Callable[[], list[torch.Tensor]]) -> tuple[SimpleNamespace, list[torch.Tensor]]:
        results = run()

        def replay() -> None:
            for mine, new in zip(results, run(), strict=True):
                mine.copy_(new)

        return SimpleNamespace(replay=replay), results

    monkeypatch.setattr(cuda_graph, "record", record)
    return world


@pytest.fixture
def graphs(world: SimpleNamespace) -> tuple[CudaGraphs, Counting]:
    executor = Counting()
    return CudaGraphs(executor, PLAN, torch.device("cuda", 0)), executor


def expected(x: torch.Tensor) -> list[torch.Tensor]:
    """In the layout that recordings have, on which bits depend."""
    return ReferenceExecutor(PLAN, CONSTANTS, CPU).run(x.contiguous(memory_format=torch.channels_last))


def assert_same(got: list[torch.Tensor], x: torch.Tensor) -> None:
    assert all(torch.equal(a, b) for a, b in zip(got, expected(x), strict=True))


def test_results_are_the_callers_to_keep(graphs: tuple[CudaGraphs, Counting]) -> None:
    run = graphs[0].run
    x = network_input(GRAPH, batch=2)
    first = run(x)
    assert_same(run(x + 1), x + 1)
    assert_same(first, x)


def test_a_recording_for_each_batch_size_and_stream(
    graphs: tuple[CudaGraphs, Counting], world: SimpleNamespace
) -> None:
    run, executor = graphs[0].run, graphs[1]
    places = set()
    for stream, batch in ((1, 2), (1, 3), (2, 2), (1, 2), (2, 2), (1, 3)):
        world.stream = stream
        x = network_input(GRAPH, batch=batch)
        assert_same(run(x), x)
        places.add(executor.seen[-1][0].data_ptr())
    assert len(places) == 3


def test_any_strides_become_those_of_the_recording(graphs: tuple[CudaGraphs, Counting]) -> None:
    run, executor = graphs[0].run, graphs[1]
    x = network_input(GRAPH, batch=2)
    for other in (x, x.transpose(2, 3).contiguous().transpose(2, 3), x.repeat_interleave(2, dim=3)[..., ::2]):
        assert_same(run(other), x)
    assert all(seen.is_contiguous(memory_format=torch.channels_last) for seen, _ in executor.seen)


def test_old_recordings_go(graphs: tuple[CudaGraphs, Counting]) -> None:
    run, executor = graphs[0].run, graphs[1]

    def place(batch: int) -> int:
        run(network_input(GRAPH, batch=batch))
        return len(graphs[0]._recordings)

    assert [place(batch) for batch in range(1, MAX_GRAPHS + 3)][-1] == MAX_GRAPHS
    before = len(executor.seen)
    place(MAX_GRAPHS + 2)
    assert len(executor.seen) == before + 1, "the newest is replayed"
    place(1)
    assert len(executor.seen) == before + 3, "the oldest is recorded anew, then replayed"


def test_results_go_to_the_callers_memory(graphs: tuple[CudaGraphs, Counting]) -> None:
    """As maps, and flattened where a buffer has one pixel."""
    run, x = graphs[0].run, network_input(GRAPH, batch=2)
    for o, want in zip(PLAN.outputs, expected(x), strict=True):
        shapes = [want, want.flatten(1)] if want.shape[2:] == (1, 1) else [want]
        for like in shapes:
            out = {o.buffer: torch.full_like(like, float("nan"))}
            (mine,) = (t for other, t in zip(PLAN.outputs, run(x, out), strict=True) if other.buffer == o.buffer)
            assert mine is out[o.buffer] and torch.equal(mine.reshape(want.shape), want)


def test_within_a_capture_the_executor_itself_runs(graphs: tuple[CudaGraphs, Counting], world: SimpleNamespace) -> None:
    """Nothing is recorded within a recording; results go where they should all the same."""
    world.capturing = True
    x = network_input(GRAPH, batch=2)
    out = {PLAN.outputs[0].buffer: torch.empty_like(expected(x)[0])}
    results = graphs[0].run(x, out)
    assert results[0] is out[PLAN.outputs[0].buffer]
    assert_same(results, x)
    assert len(graphs[1].seen) == 1 and not graphs[0]._recordings


def test_what_it_says_of_its_executor(graphs: tuple[CudaGraphs, Counting]) -> None:
    assert graphs[0].unrecorded(3) is graphs[1] and graphs[0].driver == "some driver"


class Recorder:
    """In the place of PyTorch's graphs: says what a recording is begun with, and what is going on meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.streams: list[object] = []
        self.active = self.most = 0
        stream = SimpleNamespace(wait_stream=lambda other: None)
        monkeypatch.setattr(torch.cuda, "Stream", lambda: SimpleNamespace(wait_stream=lambda other: None))
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
        monkeypatch.setattr(torch.cuda, "stream", lambda side: nullcontext())
        monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
        monkeypatch.setattr(torch.cuda, "graph", self.graph)

    @contextmanager
    def graph(self, graph: object, stream: object = None, capture_error_mode: str = "") -> Iterator[None]:
        assert capture_error_mode == "thread_local" and not gc.isenabled()
        self.streams.append(stream)
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            yield
        finally:
            self.active -= 1


def test_recordings_have_streams_of_their_own_and_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, both = Recorder(monkeypatch), threading.Barrier(2)

    def call() -> None:
        both.wait()
        # Few, for each collects all garbage of the process.
        for _ in range(5):
            assert cuda_graph.record(lambda: 5)[1] == 5

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recorder.most == 1 and gc.isenabled()
    assert None not in recorder.streams and len(recorder.streams) == 10


def test_a_recording_that_fails_leaves_everything_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    Recorder(monkeypatch)
    calls = iter(range(4))

    def fails_while_recorded() -> None:
        if next(calls) == 3:
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        cuda_graph.record(fails_while_recorded)
    assert gc.isenabled()
    assert cuda_graph.record(lambda: 1)[1] == 1


@pytest.mark.parametrize("look", ["trace", "profile"])
def test_what_is_looked_at_has_the_layout_of_recordings(look: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    executor = Counting()
    monkeypatch.setattr(executor, look, lambda x: [seen.append(x)], raising=False)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    x = network_input(GRAPH, batch=2)
    getattr(CudaGraphs(executor, PLAN, torch.device("cuda", 0)), look)(x)
    assert seen[0].is_contiguous(memory_format=torch.channels_last) and torch.equal(seen[0], x)
