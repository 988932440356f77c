"""What ``auto`` makes of the times of whole passes: one backend, or one for each range of batch sizes, and why."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path

import pytest
import torch

import inception_fast
from inception_fast.backends import get_backend, selection
from inception_fast.backends.base import Availability
from inception_fast.backends.by_batch import ByBatch
from inception_fast.backends.reference import ReferenceExecutor
from inception_fast.errors import InputError
from inception_fast.tuning import passes
from inception_fast.tuning.passes import measure_passes, winner, winners
from inception_fast.tuning.table import Machine, Passes, Table, read_table, table_path, write_table

# The package has a function of that name.
backends = sys.modules["inception_fast.backends"]
GPU = torch.device("cuda", 0)
MACHINE = Machine("NVIDIA Test 9000", "580.1", "3.9.0")
SMALL_FOR_CUDA = {
    1: {"cuda": 1.0, "triton": 2.0},
    8: {"cuda": 3.0, "triton": 4.0},
    32: {"cuda": 9.0, "triton": 5.0},
    128: {"cuda": 30.0, "triton": 10.0},
}


def test_winners() -> None:
    found = winners(SMALL_FOR_CUDA, ["cuda", "triton"])
    assert found == ((1, "cuda"), (16, "triton"))
    assert [winner(found, n) for n in (1, 15, 16, 1000)] == ["cuda", "cuda", "triton", "triton"]
    assert winners({4: {"cuda": 1.0}, 8: SMALL_FOR_CUDA[32]}, ["cuda", "triton"]) == ((1, "triton"),)
    assert winners({4: {"cuda": 1.0}}, ["cuda", "triton"]) == () == winners({}, ["cuda"])


def test_nothing_but_the_reference_is_said_and_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Availability(False, "the C++ part was not built")
    monkeypatch.setattr(get_backend("cpu"), "availability", lambda: absent)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU()).eval()
    images = torch.rand(4, 3, 9, 9)
    words = "slower than PyTorch itself .'cpu': the C.. part was not built; 'torch': serves .*, got int8"
    with pytest.warns(UserWarning, match=words):
        fast = inception_fast.optimize(model, images, precision="int8")
    assert fast.backend == "reference"
    assert re.search(words, fast.report().reason)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert inception_fast.optimize(model, images, precision="int8", backend="reference").backend == "reference"
        assert inception_fast.optimize(model, images).backend == "torch"


def test_measured_by_backend_and_batch() -> None:
    ran: list[str] = []
    work = {("a", 1): lambda: ran.append("a1"), ("b", 1): lambda: ran.append("b1"), ("a", 2): lambda: ran.append("a2")}

    def timer(run: object) -> float:
        assert callable(run)
        run()
        return float(len(ran))

    assert measure_passes(work, timer) == {1: {"a": 1.0, "b": 2.0}, 2: {"a": 3.0}}
    assert ran == ["a1", "b1", "a2"]


def test_tables_keep_passes(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    table = Table(MACHINE, True, {}, {"fp16": SMALL_FOR_CUDA})
    write_table(path, table)
    assert read_table(path) == table
    path.write_text(path.read_text().replace("9.0", "-9.0"))
    with pytest.raises(InputError, match=r"table\.json"):
        read_table(path)


def test_times_measured_here_come_before_shipped_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INCEPTION_FAST_CACHE", str(tmp_path))
    monkeypatch.setattr(passes, "machine_of", lambda device: MACHINE)
    assert passes.known_passes(GPU) == (MACHINE, {})
    write_table(table_path(MACHINE), Table(MACHINE, True, {}, {"fp16": SMALL_FOR_CUDA}))
    assert passes.known_passes(GPU) == (MACHINE, {"fp16": SMALL_FOR_CUDA})


def _known(monkeypatch: pytest.MonkeyPatch, times: Passes) -> None:
    """Both backends can run, and these times are known."""
    monkeypatch.setattr(backends, "_refusal", lambda backend, device, precision: "")
    monkeypatch.setattr(passes, "known_passes", lambda device: (MACHINE, times))


def test_triton_where_nothing_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    _known(monkeypatch, {"fp32": SMALL_FOR_CUDA})
    found = selection("auto", GPU, "fp16")
    assert found.backend is get_backend("triton")
    assert "cuda and triton were not timed against each other on NVIDIA Test 9000 in fp16" in found.reason
    assert selection("cuda", GPU, "fp16").reason == "asked for"


def test_the_times_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    _known(monkeypatch, {"fp16": SMALL_FOR_CUDA, "bf16": {1: SMALL_FOR_CUDA[1]}})
    found = selection("auto", GPU, "fp16")
    assert isinstance(found.backend, ByBatch) and found.backend.name == "triton" and not found.backend.lowering.pair
    assert found.reason == "cuda up to batch 15, triton from batch 16 on, as timed on NVIDIA Test 9000 in fp16"
    assert selection("auto", GPU, "bf16").backend is get_backend("cuda")
    assert selection("auto", GPU, "fp16", by_batch=False).backend is get_backend("triton")
    invariant = selection("auto", GPU, "fp16", batch_invariant=True)
    assert invariant.backend is get_backend("triton") and "one for all sizes" in invariant.reason


def test_a_backend_that_cannot_run_has_no_times(monkeypatch: pytest.MonkeyPatch) -> None:
    _known(monkeypatch, {"fp16": SMALL_FOR_CUDA})
    monkeypatch.setattr(backends, "_refusal", lambda backend, *_: "not built" if backend.name == "cuda" else "")
    found = selection("auto", GPU, "fp16")
    assert found.backend is get_backend("triton") and "'cuda': not built" in found.reason


def test_each_batch_runs_on_its_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two CPU backends in the place of the GPU's; each is made ready when a batch of its own comes."""
    monkeypatch.setattr(backends, "CONTENDERS", {"cpu": ("reference", "torch")})
    monkeypatch.setattr(backends, "_PREFERENCE", {"cpu": ("torch", "reference")})
    times = {1: {"reference": 1.0, "torch": 2.0}, 4: {"reference": 2.0, "torch": 1.0}}
    _known(monkeypatch, {"fp32": times})
    compiled: list[str] = []
    for name in ("reference", "torch"):
        backend = get_backend(name)
        compile_ = backend.compile

        def spy(*arguments: object, name: str = name, compile_: object = compile_, **options: object) -> object:
            compiled.append(name)
            assert callable(compile_)
            return compile_(*arguments, **options)

        monkeypatch.setattr(backend, "compile", spy)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.ReLU()).eval()
    x = torch.randn(4, 3, 9, 9)
    fast = inception_fast.optimize(model, x)
    assert fast.backend == "torch" and compiled == []
    assert "reference up to batch 1, torch from batch 2 on" in str(fast.report())
    for images, expected in ((1, ["reference"]), (1, ["reference"]), (3, ["reference", "torch"])):
        torch.testing.assert_close(fast(x[:images]), model(x[:images]))
        assert compiled == expected
    out = torch.full((4, 5, 7, 7), float("nan"))
    assert fast(x, out=out) is out
    torch.testing.assert_close(out, model(x))
    torch.testing.assert_close(fast.static(x[:1])(), model(x[:1]))
    assert compiled == ["reference", "torch"]
    _, executor = fast.executor_for(x.device)
    monkeypatch.setattr(ReferenceExecutor, "trace", lambda self, x: ["a block"])
    assert executor.trace(x[:1]) == ["a block"]
    with pytest.raises(NotImplementedError, match="TorchExecutor does not trace its blocks"):
        executor.trace(x)
