"""``inception-fast profile`` and ``kernels``: exit status, tables, files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from inception_fast.bench import peak
from inception_fast.bench.peak import Peak
from inception_fast.cli.main import FAILED, WRONG_USE, main
from tests.bench.planted import plant

MODEL = ["tests.bench.nets:small", "--size", "31", "--backend", "torch"]
LIMITS = Peak(operations_per_second=2e12, bytes_per_second=3e10, arithmetic={"fp32": 2e12, "bf16": 4e12}, threads=2)
PROFILE = ["profile", *MODEL, "--random", "--rounds", "2"]
KERNELS = ["kernels", *MODEL, "--rounds", "1"]


@pytest.fixture(autouse=True)
def _limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine was measured to reach."""
    monkeypatch.setattr(peak, "measure_peak", lambda device, precision: LIMITS)


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


def test_kernels_are_held_against_the_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "kernels.json"
    assert main([*KERNELS, "--filter", "1x3 conv", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    (row,), seconds = found["kernels"], found["kernels"][0]["ours"]["median"]
    assert row["share_of_arithmetic"] == pytest.approx(row["operations"] / seconds / 2e12)
    assert row["share_of_bandwidth"] == pytest.approx(row["traffic"] / seconds / 3e10)
    assert found["peak"]["operations_per_second"] == 2e12 and found["peak"]["threads"] == 2
    assert found["scaling"] == {}
    out = capsys.readouterr().out
    assert "on 2 threads: 2000 GFLOP/s in fp32, 4000 GFLOP/s in bf16; 30.0 GB/s in a copy" in out
    assert "of peak" in out and "of copy" in out


def test_kernels_where_the_machine_cannot_be_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peak, "measure_peak", lambda device, precision: None)
    path = tmp_path / "kernels.json"
    assert main([*KERNELS, "--filter", "1x3 conv", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert found["peak"] is None and found["kernels"][0]["share_of_arithmetic"] is None
    assert "is not known" in capsys.readouterr().out


def test_kernels_shows_how_the_network_scales(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "kernels.json"
    threads = torch.get_num_threads()
    try:
        assert main([*KERNELS, "--threads", "3", "--json", str(path)]) == 0
    finally:
        torch.set_num_threads(threads)
    ((model, scales),) = json.loads(path.read_text())["scaling"].items()
    assert model == MODEL[0] and [scale["threads"] for scale in scales] == [1, 2, 3]
    assert scales[0]["speedup"]["median"] == 1.0
    assert "per thread" in capsys.readouterr().out


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
