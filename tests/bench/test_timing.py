"""Turns, budgets and samples under a clock that only moves when a contestant runs."""

from __future__ import annotations

import weakref
from collections import Counter
from contextlib import nullcontext
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from inception_fast.bench.timing import (
    FEWEST_ROUNDS,
    WARM_UP,
    CudaTimer,
    HostTimer,
    captured,
    interleave,
    timer_for,
    turn_order,
)


class World:
    """A clock, and contestants that take a known time and leave their name."""

    def __init__(self, **seconds: float) -> None:
        self.now, self.calls = 0.0, []
        self.runs = {name: lambda name=name, s=s: self.spend(name, s) for name, s in seconds.items()}

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def spend(self, name: str, seconds: float) -> None:
        self.calls.append(name)
        self.now += seconds

    def interleave(self, **options: object) -> dict[str, list[float]]:
        clocks = {"timer": HostTimer(self.clock), "clock": self.clock, "sleep": self.sleep}
        return interleave(self.runs, **clocks, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_round_has_everyone_once(count: int) -> None:
    for index in range(3 * count):
        assert sorted(turn_order(count, index)) == list(range(count))


@pytest.mark.parametrize("count", [2, 3, 5])
def test_everyone_comes_first_and_last_equally_often(count: int) -> None:
    orders = [turn_order(count, index) for index in range(2 * count)]
    for place in (0, -1):
        assert Counter(order[place] for order in orders) == dict.fromkeys(range(count), 2)


def test_nobody_always_runs_after_the_same_one() -> None:
    followed = {i: set() for i in range(4)}
    for index in range(8):
        for before, after in pairwise(turn_order(4, index)):
            followed[after].add(before)
    assert all(len(before) > 1 for before in followed.values())


def test_samples_are_seconds_per_call_in_rounds() -> None:
    world = World(fast=0.001, slow=0.004)
    samples = world.interleave(rounds=6)
    assert samples == {"fast": pytest.approx([0.001] * 6), "slow": pytest.approx([0.004] * 6)}


def test_a_turn_begins_with_a_call_that_is_not_timed() -> None:
    world = World(a=1.0, b=1.0)
    world.interleave(rounds=2)
    warm_up = ["a"] * (WARM_UP + 1) + ["b"] * (WARM_UP + 1)
    assert world.calls == [*warm_up, "a", "a", "b", "b", "b", "b", "a", "a"]


def test_the_call_that_is_not_timed_takes_the_blow() -> None:
    """A contestant whose first call of each turn is slow (cold caches) shows its other speed."""
    world = World()
    world.runs = {"cold": lambda: world.spend("cold", 1.0 if world.calls[-1:] != ["cold"] else 0.1)}
    world.runs["other"] = lambda: world.spend("other", 0.5)
    assert world.interleave(rounds=5)["cold"] == pytest.approx([0.1] * 5)


def test_a_pause_outlasts_the_threads_that_still_spin() -> None:
    """For five milliseconds after a spinner's turn, everybody else takes ten times as long."""
    world, spinning = World(), [0.0]

    def spin() -> None:
        world.spend("spinner", 0.001)
        spinning[0] = world.now + 0.005

    world.runs = {"spinner": spin, "other": lambda: world.spend("other", 0.002 if world.now < spinning[0] else 0.0002)}
    assert max(world.interleave(rounds=4)["other"]) == pytest.approx(0.002)
    assert world.interleave(rounds=4, pause=0.005)["other"] == pytest.approx([0.0002] * 4)


def test_a_fast_contestant_is_called_often_enough_for_the_clock() -> None:
    world = World(fast=0.001, slow=0.5)
    samples = world.interleave(rounds=1, shortest_sample=0.01)
    assert world.calls.count("fast") == WARM_UP + 1 + 1 + 10
    assert world.calls.count("slow") == WARM_UP + 1 + 1 + 1
    assert samples["fast"] == pytest.approx([0.001])


def test_a_contestant_too_fast_for_the_clock_does_not_stop_the_contest() -> None:
    assert World(none=0.0).interleave(rounds=2, shortest_sample=0.01) == {"none": [0.0, 0.0]}


def test_the_budget_ends_the_rounds_but_leaves_enough_of_them() -> None:
    assert len(World(a=1.0).interleave(rounds=100, seconds=50.0)["a"]) == 24
    assert len(World(a=1.0).interleave(rounds=100, seconds=0.0)["a"]) == FEWEST_ROUNDS
    assert len(World(a=1.0).interleave(rounds=3, seconds=0.0)["a"]) == 3


def test_progress_sees_every_round() -> None:
    seen: list[int] = []

    def track(rounds):
        for index in rounds:
            seen.append(index)
            yield index

    World(a=1.0).interleave(rounds=4, track=track)
    assert seen == [0, 1, 2, 3]


def test_a_gpu_has_a_timer_of_its_own() -> None:
    assert isinstance(timer_for(torch.device("cuda")), CudaTimer)
    assert isinstance(timer_for(torch.device("cpu")), HostTimer)


@pytest.mark.gpu
def test_the_gpu_timer_waits_for_the_work() -> None:
    x = torch.randn(4096, 4096, device="cuda")
    few, many = (CudaTimer()(lambda n=n: [x @ x for _ in range(n)], 1) for n in (1, 50))
    assert many > few > 0


def test_on_a_cpu_nothing_is_recorded() -> None:
    def run() -> None:
        pass

    assert captured(run, torch.device("cpu")) is run
    if not torch.cuda.is_available():
        assert captured(run) is run


def test_a_recording_keeps_what_it_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CUDA graph has the addresses of weights and inputs, which would otherwise go when their owner returns."""
    stream = SimpleNamespace(wait_stream=lambda other: None)
    replays: list[int] = []
    for name in ("Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, lambda: stream)
    for name in ("stream", "graph"):
        monkeypatch.setattr(torch.cuda, name, lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: replays.append(1)))
    weights = torch.ones(3)
    alive = weakref.ref(weights)
    replay = captured(partial(torch.sum, weights), torch.device("cuda"))
    del weights
    assert replay() == 3 and replay() == 3 and alive() is not None and len(replays) == 2


@pytest.mark.gpu
def test_a_replay_reads_what_is_there_then() -> None:
    x = torch.ones(8, device="cuda")
    replay = captured(lambda: x * 2)
    x.fill_(3)
    assert replay().tolist() == [6.0] * 8
