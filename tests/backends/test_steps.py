"""What executors say of single steps, and what a backend says of itself."""

from __future__ import annotations

import time

import pytest
import torch
import torch.nn.functional as F

from inception_fast.backends import Executor, get_backend
from inception_fast.backends.base import Availability
from inception_fast.errors import InputError
from tests.backends.harness import CPU
from tests.graph.check import relative_error
from tests.plan.definition import step_results
from tests.plan.tiny_engine import tiny_engine

ENGINE = tiny_engine()
"""With every kind of step."""
EAGER = ("reference", "torch")


def executor_of(backend: str) -> Executor:
    return get_backend(backend).compile(ENGINE.plan, ENGINE.constants, device=CPU)  # type: ignore[call-arg]


def images() -> torch.Tensor:
    return torch.randn(3, 3, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("step", ENGINE.plan.step_names)
def test_what_a_step_wrote(step: str) -> None:
    x = images()
    truth, got = step_results(ENGINE.plan, ENGINE.constants, x)[step], executor_of("reference").run_until(x, step)
    assert [t.shape for t in got] == [t.shape for t in truth]
    for a, b in zip(got, truth, strict=True):
        assert relative_error(a.double(), b) < 1e-6


def test_what_a_step_wrote_is_not_written_over() -> None:
    """The memory of ``block`` is that of ``scaled`` later."""
    executor, x = executor_of("reference"), images()
    (_, second), (pooled,) = executor.run_until(x, "conv"), executor.run_until(x, "pool")
    kept = second.clone(), pooled.clone()
    executor.run(x + 1)
    assert torch.equal(second, kept[0]) and torch.equal(pooled, kept[1])


def test_no_such_step() -> None:
    with pytest.raises(InputError, match=r"stop_after: got 'nowhere', expected one of conv, pair, pool"):
        executor_of("reference").run_until(images(), "nowhere")


@pytest.mark.parametrize("backend", EAGER)
def test_times(backend: str) -> None:
    executor, x = executor_of(backend), images()
    started = time.perf_counter()
    times = executor.profile(x)
    taken = time.perf_counter() - started
    assert [t.step for t in times] == list(ENGINE.plan.step_names)
    assert all(t.seconds > 0 for t in times) and sum(t.seconds for t in times) <= taken


def test_a_batch_is_run_at_once_unless_asked_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []

    def counted(x: torch.Tensor, *arguments: object) -> torch.Tensor:
        batches.append(len(x))
        return convolve(x, *arguments)  # type: ignore[arg-type]

    convolve = F.conv2d
    executor = executor_of("reference")
    monkeypatch.setattr(F, "conv2d", counted)
    executor.run(images())
    assert batches == [3] * 3


@pytest.mark.parametrize("backend", EAGER)
def test_pytorchs_own_are_always_there(backend: str) -> None:
    assert get_backend(backend).availability() == Availability(True)


def test_precisions() -> None:
    """TF32 is float32 to a CPU; elements of eight bits are not PyTorch's."""
    floating = ("fp32", "tf32", "fp16", "bf16")
    assert get_backend("torch").precisions(CPU) == floating
    assert get_backend("reference").precisions(CPU) == (*floating, "int8")
