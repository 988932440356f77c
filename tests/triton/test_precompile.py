"""Kernels compiled ahead, in other processes, for a GPU that is not here: Triton's launcher finds them in its cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from inception_fast.lowering.lower import lower
from inception_fast.tuning import precompile as module
from inception_fast.tuning.cost import A100, H200
from inception_fast.tuning.precompile import CompileError, Target, default_processes, precompile
from inception_fast.tuning.problem import ConvConfig
from tests.triton.blocks import block
from tests.triton.exact import needs_triton

pytestmark = needs_triton

ROOT = Path(__file__).parents[2]
TARGET = Target(90, H200)


def test_the_launcher_finds_every_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the batch size that was compiled, and not of another."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    plan, _ = lower(block(), "float16")
    kernels = precompile(plan, "fp16", [1], TARGET, processes=2)
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-m", "tests.triton.cached", "1", "3"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, other = map(json.loads, done.stdout.splitlines())
    assert first == {"images": 1, "hits": kernels, "misses": 0} and kernels >= 4
    assert other["misses"] > 0


@pytest.mark.parametrize("program", ["/bin/false", "/no/such/program"])
def test_a_process_that_fails_is_reported(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(CompileError, match=r"processes failed|no/such/program"):
        precompile(lower(block(), "float16")[0], "fp16", [1], TARGET, processes=1)


def test_how_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(module.PROCESSES, raising=False)
    for processors, expected in ((2, 0), (8, 8), (128, 16)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, n=processors: set(range(n)))
        assert default_processes() == expected
    monkeypatch.setenv(module.PROCESSES, "3")
    assert default_processes() == 3


def test_targets_that_are_not_here() -> None:
    assert Target.absent(80) == Target(80, A100) and Target.absent(90).limits == H200
    assert Target.absent(90).entries


def test_an_executor_compiles_a_batch_size_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for all processes, as long as nothing is known that was not; what fails is left to the pass."""
    from inception_fast.backends.triton_ahead import CompileAhead

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv(module.PROCESSES, "2")
    plan, jobs = lower(block(), "float16")[0], []

    def run(folder: Path, count: int) -> None:
        jobs.append((*json.loads((folder / "job.json").read_text())["batches"], count))
        if jobs[-1][0] == 5:
            raise CompileError("no")

    monkeypatch.setattr(module, "_run", run)

    def ahead(images: int, target: Target = TARGET, precision: str = "fp16") -> int:
        """Jobs of a new executor, as in a process that comes later."""
        monkeypatch.setattr(Target, "of", lambda device: target)
        before = len(jobs)
        CompileAhead(plan, precision, False, torch.device("cuda"))(images)
        return len(jobs) - before

    known = Target(90, H200, {"a": ConvConfig(64, 64, 64)})
    assert [ahead(1), ahead(1), ahead(2), ahead(2), ahead(2, known), ahead(2, known)] == [1, 0, 1, 0, 1, 0]
    assert ahead(2, precision="bf16") == 1 and jobs == [(1, 2), (2, 2), (2, 2), (2, 2)]
    for _ in range(2):
        with pytest.warns(UserWarning, match="one by one: no"):
            ahead(5)
    monkeypatch.setenv(module.PROCESSES, "1")
    assert ahead(7) == 0
