"""``inception-fast profile`` and ``kernels``: exit status, tables, files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inception_fast.cli.main import FAILED, WRONG_USE, main
from tests.bench.planted import plant

MODEL = ["tests.bench.nets:small", "--size", "31", "--backend", "torch"]
PROFILE = ["profile", *MODEL, "--random", "--rounds", "2"]
KERNELS = ["kernels", *MODEL, "--rounds", "1"]


def test_profile_writes_a_table_a_trace_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace, path = tmp_path / "trace.json", tmp_path / "profile.json"
    assert main([*PROFILE, "--trace", str(trace), "--json", str(path)]) == 0
    out = capsys.readouterr().out
    steps = json.loads(path.read_text())["steps"]
    assert [e["name"] for e in json.loads(trace.read_text())["traceEvents"]] == [s["step"] for s in steps]
    assert all(f" {s['step']} " in out for s in steps)
    assert "sum of the steps" in out


def test_profile_of_the_slowest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "profile.json"
    assert main([*PROFILE, "--top", "2", "--json", str(path)]) == 0
    slowest = sorted(json.loads(path.read_text())["steps"], key=lambda s: -s["seconds"]["median"])
    out = capsys.readouterr().out
    assert [f" {s['step']} " in out for s in slowest] == [True, True] + [False] * (len(slowest) - 2)


def test_profile_of_a_backend_that_cannot(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from inception_fast.backends.base import Executor
    from tests.bench.planted import torch_backend

    monkeypatch.setattr(torch_backend.TorchExecutor, "profile", Executor.profile)
    assert main(PROFILE) == FAILED
    assert "does not take the time of its steps" in capsys.readouterr().err


def test_kernels_checks_every_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "kernels.json"
    assert main([*KERNELS, "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert found["ok"] is True
    assert len(found["concats"]) == 2
    out = capsys.readouterr().out
    for row in found["kernels"]:
        assert row["correct"] is True
        assert row["label"] in out


def test_a_filter_chooses_by_words_or_names(tmp_path: Path) -> None:
    def labels(text: str) -> list[str]:
        path = tmp_path / "kernels.json"
        assert main([*KERNELS, "--filter", text, "--json", str(path)]) == 0
        return [row["label"] for row in json.loads(path.read_text())["kernels"]]

    assert len(labels("1x3 conv")) == 1
    assert all("max pool" in label for label in labels("max pool"))
    assert len(labels(r"small:fc$")) == 1


def test_a_filter_without_a_match_and_one_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*KERNELS, "--filter", "9x9"]) == FAILED
    assert main([*KERNELS, "--filter", "("]) == WRONG_USE
    assert "regular expression" in capsys.readouterr().err


def test_a_wrong_kernel_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    plant(monkeypatch, "fc")
    assert main([*KERNELS, "--filter", "linear"]) == FAILED
    assert "WRONG" in capsys.readouterr().out
