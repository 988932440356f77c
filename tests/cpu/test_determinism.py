"""The bits of a result depend on the image alone: not on the run, the threads, the batch, or other callers."""

from __future__ import annotations

import os
import random
import signal
import threading

import pytest
import torch

from tests.cpu.single_step import Problem, Target, make_native, plan_of, run_guarded, values_of, window


def layer(kernel: tuple[int, int], stride: int, channels: tuple[int, int], size: int, batch: int = 5) -> Problem:
    """A layer large enough to be cut into many tasks."""
    out = (size - 1) // stride + 1
    return Problem(
        taps=window(*kernel),
        stride=(stride, stride),
        in_channels=channels[0],
        source_size=(size, size),
        source_start=0,
        source_channels=channels[0],
        inner=channels[0] > 3,
        size=(out, out),
        targets=(Target(0, 0, channels[1] - 16, True), Target(1, 3, 16, False)),
        widths=(channels[1] - 16, 19),
        bias=True,
        residual_start=None,
        batch=batch,
    )


LAYERS = {
    "1x1": layer((1, 1), 1, (288, 240), 17),
    "1x1, one pixel": layer((1, 1), 1, (512, 100), 1),
    "3x3": layer((3, 3), 1, (64, 96), 19),
    "3x3 strided": layer((3, 3), 2, (40, 72), 21),
    "3x3 from the input": layer((3, 3), 2, (3, 48), 45),
    "1x7": layer((1, 7), 1, (128, 128), 17),
    "5x5": layer((5, 5), 1, (48, 64), 23),
}


@pytest.fixture(params=LAYERS)
def problem(request: pytest.FixtureRequest) -> Problem:
    return LAYERS[request.param]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_threads_and_batches(problem: Problem, isa: str, dtype: torch.dtype) -> None:
    plan = plan_of(problem, str(dtype).removeprefix("torch."))
    x, constants = values_of(problem, plan, integers=False)
    x = x.to(dtype)
    truth = run_guarded(make_native(plan, constants, isa), plan, x)
    for threads in (1, 2, 3, 7):
        executor = make_native(plan, constants, isa, threads)
        for _ in range(2):
            for got, want in zip(run_guarded(executor, plan, x), truth, strict=True):
                assert torch.equal(got, want)
        alone = [run_guarded(executor, plan, image) for image in x.split(1)]
        for i, want in enumerate(truth):
            assert torch.equal(torch.cat([outputs[i] for outputs in alone]), want)
        for got, want in zip(run_guarded(executor, plan, x.flip(0)), truth, strict=True):
            assert torch.equal(got, want.flip(0))


def test_concurrent_callers_on_worker_threads(isa: str) -> None:
    problem = LAYERS["3x3"]
    plan = plan_of(problem)
    x, constants = values_of(problem, plan, integers=False)
    executors = [make_native(plan, constants, isa, threads) for threads in (1, 2, 3)]
    images = [part.float().contiguous() for part in x.split(1)]
    truth = [run_guarded(executors[0], plan, image) for image in images]
    wrong: list[str] = []

    def call(caller: int) -> None:
        rng = random.Random(caller)
        for _ in range(20):
            i = rng.randrange(len(images))
            results = run_guarded(executors[rng.randrange(len(executors))], plan, images[i])
            if not all(torch.equal(a, b) for a, b in zip(results, truth[i], strict=True)):
                wrong.append(f"caller {caller}, image {i}")

    callers = [threading.Thread(target=call, args=(i,)) for i in range(4)]
    for c in callers:
        c.start()
    for c in callers:
        c.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork() -> None:
    """A child, which has none of the parent's worker threads, computes the same with workers of its own."""
    problem = LAYERS["1x1"]
    plan = plan_of(problem)
    x, constants = values_of(problem, plan, integers=False)
    x = x.float()
    executor = make_native(plan, constants, "portable", threads=3)
    truth = run_guarded(executor, plan, x)
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a deadlock ends in a failure
        torch.set_num_threads(1)  # PyTorch's own threads are gone, and it would wait for them
        same = all(torch.equal(a, b) for a, b in zip(run_guarded(executor, plan, x), truth, strict=True))
        os._exit(0 if same else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    for got, want in zip(run_guarded(executor, plan, x), truth, strict=True):
        assert torch.equal(got, want)
