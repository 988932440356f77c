"""``inception-fast verify``: what holds, what does not, and where it goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from inception_fast.cli.machine import usable_cores
from inception_fast.cli.main import FAILED, WRONG_USE, main
from tests.bench.planted import plant

QUICK = ["verify", "tests.bench.nets:small", "--size", "31", "--random", "--batch", "2"]
BACKENDS = ["--backend", "torch", "--backend", "reference"]


def test_backends_without_a_fault_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "verify.json"
    assert main([*QUICK, *BACKENDS, "--json", str(path)]) == 0
    out = capsys.readouterr().out
    assert "FAIL" not in out
    found = json.loads(path.read_text())
    assert found["ok"] is True
    (model,) = found["models"]
    assert {(v["precision"], v["backend"]) for v in model["verdicts"]} == {
        (p, b) for p in ("fp32", "bf16") for b in ("torch", "reference")
    }
    for v in model["verdicts"]:
        assert 0 < v["error"]["relative_l2"] <= v["bound"]
        assert v["bound"] == (
            max(1e-5, 2 * v["eager"]["relative_l2"]) if v["precision"] == "fp32" else 2 * v["eager"]["relative_l2"]
        )


def test_a_size_that_is_too_small_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--size", "2", *BACKENDS]) == WRONG_USE
    assert "size: got 2, for which tests.bench.nets:small fails" in capsys.readouterr().err


def test_far_more_threads_than_processors_are_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    assert main([*QUICK, *BACKENDS, "--threads", "9999"]) == WRONG_USE
    expected = f"expected at most {4 * usable_cores()}, 4 for each of the {usable_cores()} processors available"
    assert f"--threads: got 9999, {expected}" in capsys.readouterr().err
    assert torch.get_num_threads() == before


def test_a_planted_fault_fails_one_backend_and_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(monkeypatch, "block.wide_2.relu", factor=1.5)
    assert main([*QUICK, *BACKENDS, "--bisect"]) == FAILED
    lines = capsys.readouterr().out.splitlines()
    verdicts = {tuple(line.split()[:2]): line.split()[-1] for line in lines if line.startswith(("fp32", "bf16"))}
    assert verdicts == {
        ("fp32", "torch"): "FAIL",
        ("fp32", "reference"): "ok",
        ("bf16", "torch"): "FAIL",
        ("bf16", "reference"): "ok",
    }
    for precision in ("fp32", "bf16"):
        assert any(f"torch in {precision} first goes wrong at step block.wide_2.relu (conv)" in line for line in lines)


def test_without_bisect_nothing_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(monkeypatch, "block.wide_2.relu", factor=1.5)
    assert main([*QUICK, "--backend", "torch", "--precision", "fp32"]) == FAILED
    assert "first goes wrong" not in capsys.readouterr().out


def test_a_backend_that_was_named_must_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from inception_fast.backends import get_backend
    from inception_fast.backends.base import Availability

    torch_backend = get_backend("torch")
    monkeypatch.setattr(torch_backend, "availability", lambda: Availability(False, "it is ill"))
    assert main([*QUICK, *BACKENDS, "--precision", "fp32"]) == FAILED
    assert "skipped torch in fp32: backend 'torch': it is ill" in capsys.readouterr().out
