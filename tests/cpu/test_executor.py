"""The Python side of the ``cpu`` backend, and every step kind on every instruction set."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from inception_fast.backends.base import StepTime
from inception_fast.backends.cpu import CpuExecutor, native
from inception_fast.errors import EngineFileError, InputError
from inception_fast.lowering.lower import lower
from tests.backends.cases import CASES
from tests.backends.harness import assert_close, lowered, network_input, run, truth_and_bounds


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("name", CASES)
def test_step_kinds(name: str, isa: str, precision: str) -> None:
    graph = CASES[name]()
    plan, constants = lowered(graph, precision)
    x = network_input(graph, precision)
    truth, bounds = truth_and_bounds(graph, precision, x)
    results = run(CpuExecutor(plan, constants, isa=isa, threads=2), graph, x, getattr(torch, plan.io_dtype))
    assert_close(results, truth, bounds)


def test_default_is_the_fastest_instruction_set_and_pytorchs_threads() -> None:
    plan, constants = lowered(CASES["conv_3x3"](), "fp32")
    executor = CpuExecutor(plan, constants)
    assert executor.threads == min(torch.get_num_threads(), native().usable_processors())
    x = network_input(CASES["conv_3x3"]())
    fastest = CpuExecutor(plan, constants, isa=native().instruction_sets()[-1])
    assert torch.equal(executor.run(x)[0], fastest.run(x)[0])


def test_profile_names_every_operator() -> None:
    plan, constants = lowered(CASES["factorized_pairs"](), "fp32")
    executor = CpuExecutor(plan, constants)
    reports = executor.report()
    times = executor.profile(network_input(CASES["factorized_pairs"]()))
    assert [(t.step, t.algorithm) for t in times] == [(r.step, r.algorithm) for r in reports]
    assert all(t.seconds > 0 for t in times)
    # A pair is two operators, one stage after the other; the last one's residual needs the input as NHWC.
    assert [r.step for r in reports] == ["input", *(name for name in plan.step_names for _ in range(2))]
    assert [r.stage for r in reports] == list(range(len(reports)))


def test_a_profile_shares_the_threads_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = CpuExecutor(*lowered(CASES["conv_3x3"](), "fp32"))
    report = SimpleNamespace(step="conv", algorithm="direct", seconds=6.0)
    monkeypatch.setattr(executor, "_native", SimpleNamespace(threads=4, profile=lambda *arguments: [report]))
    assert executor.profile(network_input(CASES["conv_3x3"]())) == [StepTime("conv", 1.5, "direct")]


def test_what_calls_leave_behind_is_counted_and_bounded() -> None:
    graph = CASES["conv_3x3"]()
    executor = CpuExecutor(*lowered(graph, "fp32"), threads=1)
    assert executor.working_bytes == 0
    held = []
    x = network_input(graph, batch=400)
    truth, bounds = truth_and_bounds(graph, "fp32", x)
    # More sizes than schedules are kept for.
    for batch in [*range(1, 70), 3, 400]:
        results = executor.run(x[:batch])
        held.append(executor.working_bytes)
    assert_close(results, truth, bounds)
    assert held == sorted(held) and 0 < held[0] < held[60]
    # A group of images has 32 MiB of activations at most, and a thread as much scratch as a block of them needs.
    assert held[-1] < 80 << 20


def test_constants_may_go_after_compiling() -> None:
    graph = CASES["conv_3x3"]()
    plan, constants = lowered(graph, "fp32")
    x = network_input(graph)
    kept = CpuExecutor(plan, {k: v.clone() for k, v in constants.items()})
    want = kept.run(x)[0].clone()
    doomed = {k: v.clone() for k, v in constants.items()}
    executor = CpuExecutor(plan, doomed)
    for value in doomed.values():
        value.fill_(float("nan"))
    assert torch.equal(executor.run(x)[0], want)


def test_unknown_instruction_set() -> None:
    plan, constants = lowered(CASES["conv_1x1"](), "fp32")
    with pytest.raises(InputError, match="isa: got 'mmx', expected one of portable"):
        CpuExecutor(plan, constants, isa="mmx")


def test_float64_is_refused() -> None:
    plan, constants = lower(CASES["conv_1x1"](), "float64")
    with pytest.raises(EngineFileError, match="dtype: got float64"):
        CpuExecutor(plan, constants)
