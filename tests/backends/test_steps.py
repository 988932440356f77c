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
from inception_fast.graph import ir
from inception_fast.graph.interpreter import interpret
from inception_fast.lowering.lower import lower
from inception_fast.plan.engine_file import EngineFile
from tests.backends.harness import CPU, make_executor
from tests.graph.build import Build
from tests.graph.check import relative_error
from tests.plan.definition import plan_outputs, step_results
from tests.plan.tiny_engine import tiny_engine

ENGINE = tiny_engine()
"""With every kind of step."""
EAGER = ("reference", "torch")


def executor_of(backend: str, engine: EngineFile = ENGINE) -> Executor:
    return get_backend(backend).compile(engine.plan, engine.constants, device=CPU)  # type: ignore[call-arg]


def images() -> torch.Tensor:
    return torch.randn(3, 3, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("step", ENGINE.plan.step_names)
def test_what_a_step_wrote(step: str) -> None:
    x = images()
    truth, got = step_results(ENGINE.plan, ENGINE.constants, x)[step], executor_of("reference").run_until(x, step)
    assert [t.shape for t in got] == [t.shape for t in truth]
    for a, b in zip(got, truth, strict=True):
        assert relative_error(a.double(), b) < 1e-6


def images_of(kind: str) -> torch.Tensor:
    return torch.arange(3 * 3 * 36).view(3, 3, 6, 6).mul(7).to(torch.uint8) if kind == "bytes" else images()


@pytest.mark.parametrize("kind", ["functions", "bytes"])
def test_what_the_steps_of_newer_formats_wrote(kind: str) -> None:
    engine, x = tiny_engine(kind), images_of(kind)
    truth, executor = step_results(engine.plan, engine.constants, x.double()), executor_of("reference", engine)
    for step in engine.plan.step_names:
        for a, b in zip(executor.run_until(x, step), truth[step], strict=True):
            assert a.shape == b.shape and relative_error(a.double(), b) < 2e-6


@pytest.mark.parametrize("kind", ["fp32", "functions", "bytes"])
@pytest.mark.parametrize("backend", EAGER)
@pytest.mark.parametrize("count", [1, 3])
def test_what_all_steps_together_make(kind: str, backend: str, count: int) -> None:
    engine, x = tiny_engine(kind), images_of(kind)[:count]
    truth, got = plan_outputs(engine.plan, engine.constants, x.double()), executor_of(backend, engine).run(x)
    for a, b in zip(got, truth, strict=True):
        assert a.dtype == torch.float32 and relative_error(a.double(), b) < 2e-6


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("backend", EAGER)
@pytest.mark.parametrize("level", [0.0, 500.0])
def test_probabilities_are_of_each_pixels_channels(log: bool, backend: str, level: float) -> None:
    """However large its numbers are, and those of others beside it."""
    build = Build(5, 4, 3)
    build.node(ir.Softmax(log), "x")
    x = 4 * torch.randn(2, 5, 4, 3)
    powers = x.double().exp()
    truth = powers / powers.sum(1, keepdim=True)
    x += level * torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
    got = make_executor(backend, build.graph()).run(x)[0].double()
    assert relative_error(got, truth.log() if log else truth) < (1e-4 if level else 2e-6)


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-12), ("float16", 1e-3), ("bfloat16", 8e-3)])
@pytest.mark.parametrize("backend", EAGER)
def test_squares_of_responses_are_not_the_dtypes(dtype: str, bound: float, backend: str) -> None:
    """Those of 300 are more than float16 has; float32 would be too little for float64."""
    build = Build(5, 4, 3)
    build.node(ir.LocalResponseNorm(3, 1e-4, 0.75, 1.0), "x")
    x = (300 * torch.randn(2, 5, 4, 3, dtype=torch.float64)).to(getattr(torch, dtype))
    plan, constants = lower(build.graph(), dtype)
    got = get_backend(backend).compile(plan, constants, device=CPU).run(x)[0]  # type: ignore[call-arg]
    assert got.dtype == x.dtype and relative_error(got.double(), interpret(build.graph(), x)[0]) < bound


@pytest.mark.parametrize("backend", EAGER)
def test_an_input_that_is_returned_is_a_copy(backend: str) -> None:
    build = Build(3, 4, 3)
    build.conv("x", 2)
    graph = build.graph("x", "conv2d1")
    x = torch.randn(2, 3, 4, 3).contiguous(memory_format=torch.channels_last)
    got = make_executor(backend, graph).run(x)[0]
    assert torch.equal(got, x) and got.data_ptr() != x.data_ptr()


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
