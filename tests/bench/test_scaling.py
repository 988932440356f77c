"""Scaling over threads, under a clock that the backend's executors move."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from inception_fast.backends import Executor
from inception_fast.backends.reference import ReferenceBackend
from inception_fast.bench.scaling import scaling, thread_counts
from inception_fast.bench.timing import HostTimer
from inception_fast.plan.cost import operations
from inception_fast.plan.plan import Plan
from tests.plan.tiny_engine import tiny_engine


class Amdahl(ReferenceBackend):
    """A pass takes one second, and another one that all threads share."""

    def __init__(self) -> None:
        self.now = 0.0

    def compile(self, plan: Plan, constants: Mapping[str, torch.Tensor], **options: object) -> Executor:
        return _Pass(self, torch.get_num_threads())


class _Pass(Executor):
    def __init__(self, world: Amdahl, threads: int) -> None:
        self._world, self._threads = world, threads

    def run(self, x: torch.Tensor) -> list[torch.Tensor]:
        assert x.shape == (3, 3, 6, 6) and x.dtype == torch.float32
        assert torch.get_num_threads() == self._threads, "compiled for another number of threads"
        self._world.now += 1.0 + 1.0 / self._threads
        return []


def test_threads_double_up_to_the_most() -> None:
    assert [thread_counts(n) for n in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]


def test_the_speedup_is_over_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to = [torch.get_num_threads()]
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: set_to[-1])
    set_to.append(4)
    world, engine = Amdahl(), tiny_engine()
    timer = HostTimer(lambda: world.now)
    options = {"batch": 3, "precision": "fp32", "rounds": 5}
    found = scaling(engine.plan, engine.constants, world, timer=timer, **options)  # type: ignore[arg-type]
    assert [scale.threads for scale in found] == [1, 2, 4]
    assert [scale.seconds.median for scale in found] == pytest.approx([2.0, 1.5, 1.25])
    assert [scale.speedup.median for scale in found] == pytest.approx([1.0, 4 / 3, 1.6])
    assert {scale.operations for scale in found} == {3 * sum(operations(engine.plan, s) for s in engine.plan.steps)}
    assert torch.get_num_threads() == 4
