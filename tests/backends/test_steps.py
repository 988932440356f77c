"""What executors say of single steps, and what a backend says of itself."""

from __future__ import annotations

import time

import pytest
import torch
import torch.nn.functional as F

from inception_fast.backends import Executor, get_backend
from inception_fast.backends.base import Availability
from inception_fast.backends.reference import ReferenceExecutor
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


def test_memory_that_no_step_has_written_is_nan() -> None:
    """So that a read before a write shows."""
    executor = executor_of("reference")
    assert isinstance(executor, ReferenceExecutor)
    memory = executor._pass(images(), last=0)
    assert memory.buffers[2].isnan().all() and memory.buffers[5].isnan().all()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_the_reference_packs(precision: str) -> None:
    """What it converts; the caller's own constants are the caller's."""
    engine = tiny_engine(precision)
    executor = ReferenceExecutor(engine.plan, engine.constants, CPU)
    converted = [t for t in engine.constants.values() if t.dtype != torch.float32]
    assert sorted(executor.packed.values()) == sorted(4 * t.numel() for t in converted)
    assert executor.weight_bytes == sum(executor.packed.values()) and executor.working_bytes == 0


@pytest.mark.parametrize("made", ["by the backend", "directly"])
def test_a_batch_is_run_at_once_unless_asked_otherwise(made: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []

    def counted(x: torch.Tensor, *arguments: object, **options: object) -> torch.Tensor:
        batches.append(len(x))
        return convolve(x, *arguments, **options)  # type: ignore[arg-type]

    convolve = F.conv2d
    directly = ReferenceExecutor(ENGINE.plan, ENGINE.constants, CPU)
    executor = directly if made == "directly" else executor_of("reference")
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
