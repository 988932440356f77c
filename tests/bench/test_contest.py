"""A contest between contestants whose results and failures are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from inception_fast.bench import contest as contest_module
from inception_fast.bench.accuracy import true_outputs
from inception_fast.bench.contest import Contest, Entrant, Requirement, hold, numerics
from inception_fast.bench.peers import Contestant, PeerUnavailableError, Task
from inception_fast.bench.statistics import Summary
from inception_fast.bench.timing import HostTimer
from tests.bench.nets import images, small


@pytest.fixture(scope="module")
def task() -> Task:
    return Task(small(), images(2), "fp32", torch.device("cpu"), threads=1)


@pytest.fixture(scope="module")
def truth(task: Task) -> list[torch.Tensor]:
    return true_outputs(task.model, task.images)


def scaled(name: str, factor: float, ours: bool = False) -> Entrant:
    """An entrant whose result is the model's times a factor."""

    def prepare(task: Task) -> list[Contestant]:
        module, x = task.module(), task.input()
        return [Contestant(f"{name} contestant", lambda: factor * module(x), "a note")]

    return Entrant(name, prepare, ours)


def failing(name: str, error: Exception, ours: bool = False) -> Entrant:
    def prepare(task: Task) -> list[Contestant]:
        raise error

    return Entrant(name, prepare, ours)


@pytest.fixture
def contest(task: Task, truth: list[torch.Tensor]) -> Callable[..., Contest]:
    return lambda *entrants: hold(task, entrants, truth, rounds=3)


def test_a_result_is_right_or_wrong_by_its_own_bound(contest: Callable[..., Contest]) -> None:
    """A peer may be off by more than ours may, and both have a limit."""
    nearly = 1 + 5e-5
    entrants = [
        scaled("ours", 1.0, ours=True),
        scaled("ours, off", nearly, ours=True),
        scaled("peer, off", nearly),
        scaled("peer, wrong", 1.01),
    ]
    assert [row.correct for row in contest(*entrants).rows] == [True, False, True, False]


def test_nan_is_wrong(contest: Callable[..., Contest]) -> None:
    (row,) = contest(scaled("peer", float("nan"))).rows
    assert not row.correct


def test_rows_are_in_order_and_over_our_first(contest: Callable[..., Contest]) -> None:
    result = contest(scaled("a", 1.0), scaled("b", 1.0, ours=True), scaled("c", 1.0, ours=True))
    assert [row.entrant for row in result.rows] == ["a", "b", "c"]
    assert result.baseline == "b contestant"
    assert [row.ratio.median == 1.0 for row in result.rows] == [False, True, False]
    for row in result.rows:
        assert row.seconds.count == len(row.samples) == 3
        assert min(row.samples) > 0


def test_who_cannot_take_part_says_why(contest: Callable[..., Contest]) -> None:
    missing = failing("missing", PeerUnavailableError("it is not installed"))
    broken = failing("broken", RuntimeError("first line\nsecond line"))
    result = contest(missing, broken, scaled("peer", 1.0))
    assert result.skipped == {"missing": "it is not installed", "broken": "failed with RuntimeError: first line"}
    assert [row.entrant for row in result.rows] == ["peer"]


def test_our_own_failure_is_not_hidden(contest: Callable[..., Contest]) -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        contest(failing("ours", RuntimeError("a bug"), ours=True), scaled("peer", 1.0))


def test_a_contest_without_contestants(contest: Callable[..., Contest]) -> None:
    result = contest(failing("missing", PeerUnavailableError("no")))
    assert (result.rows, result.baseline) == ((), None)


def test_requirements(contest: Callable[..., Contest]) -> None:
    result = contest(scaled("ours", 1.0, ours=True), scaled("peer", 1.0))
    assert Requirement(1e-6, "peer").holds(result)
    assert not Requirement(1e6, "peer").holds(result)
    assert not Requirement(1e-6, "absent").holds(result)
    assert not Requirement(1e-6, "peer").holds(contest(scaled("peer", 1.0)))


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_numerics_are_those_of_the_precision_and_go_back(precision: str) -> None:
    def switches() -> tuple[object, ...]:
        cudnn = torch.backends.cudnn
        matmul, grad = torch.get_float32_matmul_precision(), torch.is_grad_enabled()
        return matmul, cudnn.enabled, cudnn.allow_tf32, cudnn.benchmark, grad

    before = switches()
    for search in (True, False):
        with numerics(precision, search):
            matmul = {"fp32": "highest", "tf32": "high"}[precision]
            assert switches() == (matmul, True, precision == "tf32", search, False)
        assert switches() == before


def test_nobody_changes_the_task(task: Task) -> None:
    before = {name: p.clone() for name, p in task.model.named_parameters()}
    half = Task(task.model, task.images, "bf16", task.device, 1)
    assert next(half.module(torch.channels_last).parameters()).dtype == torch.bfloat16
    assert half.input(torch.channels_last).is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(p, before[name]) and p.dtype == torch.float32 for name, p in task.model.named_parameters())


def recorded(name: str, factor: float, replay: float | str, ours: bool = False) -> Entrant:
    """As :func:`scaled`, with replays of another factor, or a message: why there are none."""

    def prepare(task: Task) -> list[Contestant]:
        module, x = task.module(), task.input()

        def record() -> Callable[[], object]:
            if isinstance(replay, str):
                raise RuntimeError(replay)
            return lambda: replay * module(x)

        return [Contestant(name, lambda: factor * module(x), "a note", record)]

    return Entrant(name, prepare, ours)


@pytest.fixture
def on_a_gpu(task: Task, truth: list[torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Contest]:
    """A contest that takes a GPU for granted, whose tensors are on the CPU."""
    monkeypatch.setattr(contest_module, "timer_for", lambda device: HostTimer())
    monkeypatch.setattr(contest_module, "SHORTEST_REPLAYS", 0.0)
    monkeypatch.setattr(Task, "module", lambda task, *_: task.model)
    monkeypatch.setattr(Task, "input", lambda task, *_: task.images)
    device = replace(task, device=torch.device("cuda"))
    return lambda *entrants, **options: hold(device, entrants, truth, rounds=3, yardstick=1e-7, **options)


def test_replays_have_figures_of_their_own(on_a_gpu: Callable[..., Contest]) -> None:
    result = on_a_gpu(recorded("ours", 1.0, 1.0, ours=True), recorded("peer", 1.0, 1.0), scaled("no", 1.0))
    ours, peer, none = result.rows
    assert ours.replays is not None and ours.replays.ratio is not None and ours.replays.ratio.median == 1.0
    assert peer.replays is not None and len(peer.replays.samples) == peer.replays.seconds.count == 3
    assert none.replays is None and all(row.correct for row in result.rows)


def test_a_wrong_replay_makes_a_wrong_row(on_a_gpu: Callable[..., Contest]) -> None:
    rows = on_a_gpu(recorded("ours", 1.0, 1.01, ours=True), recorded("peer", 1.0, 1.01)).rows
    assert [row.correct for row in rows] == [False, False]


def test_who_cannot_be_recorded_says_so(on_a_gpu: Callable[..., Contest]) -> None:
    ours, peer = on_a_gpu(recorded("ours", 1.0, 1.0, ours=True), recorded("peer", 1.0, "it synchronises")).rows
    assert ours.replays is not None and ours.unrecorded == ""
    assert peer.replays is None and peer.unrecorded == "failed with RuntimeError: it synchronises"
    with pytest.raises(RuntimeError, match="a bug"):
        on_a_gpu(recorded("ours", 1.0, "a bug", ours=True))


def test_replays_over_nobodys(on_a_gpu: Callable[..., Contest]) -> None:
    """Ours has none: the others' have no ratio."""
    ours, peer = on_a_gpu(scaled("ours", 1.0, ours=True), recorded("peer", 1.0, 1.0)).rows
    assert ours.replays is None and peer.replays is not None and peer.replays.ratio is None


def test_replays_may_be_left_out(on_a_gpu: Callable[..., Contest]) -> None:
    (row,) = on_a_gpu(recorded("ours", 1.0, "not asked for", ours=True), replays=False).rows
    assert row.replays is None


def test_on_a_cpu_there_are_none(contest: Callable[..., Contest]) -> None:
    (row,) = contest(recorded("ours", 1.0, "not asked for", ours=True)).rows
    assert row.replays is None and row.unrecorded == ""


def test_a_requirement_is_about_replays_too(on_a_gpu: Callable[..., Contest]) -> None:
    result = on_a_gpu(recorded("ours", 1.0, 1.0, ours=True), recorded("peer", 1.0, 1.0))
    ours, peer = result.rows
    assert peer.replays is not None
    slow = Summary(3.0, 3.0, 3.0, 3)
    for calls, replays, holds in ((3.0, 3.0, True), (3.0, 1.0, False), (1.0, 3.0, False)):
        row = replace(
            peer,
            ratio=replace(slow, median=calls),
            replays=replace(peer.replays, ratio=replace(slow, median=replays)),
        )
        assert Requirement(2.0, "peer").holds(replace(result, rows=(ours, row))) == holds
