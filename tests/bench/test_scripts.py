"""The scripts outside of the package: their commands are ones that ``inception-fast`` takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from inception_fast.cli.main import build_parser


def test_every_command_for_the_gpu_parses(tmp_path: Path) -> None:
    parser = build_parser()
    listed = gpu.commands(["googlenet", "inception_v3"], tmp_path)
    for name, words in listed.items():
        args = parser.parse_args(words)
        assert args.models == ["googlenet", "inception_v3"]
        assert args.device == "cuda"
        assert args.json == tmp_path / f"{name}.json"


def test_without_a_gpu_nothing_is_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(gpu.sys, "argv", ["gpu"])
    monkeypatch.setattr(gpu, "inception_fast", lambda words: pytest.fail("something was run"))
    assert gpu.main() == 1
    assert "CUDA device" in capsys.readouterr().err


@pytest.mark.slow
def test_dry_run_goes_the_whole_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpu.sys, "argv", ["gpu", "--dry-run", "--models", "inception_v3", "--output", str(tmp_path)])
    assert gpu.main() == 0
    assert {file.stem for file in tmp_path.iterdir()} == {"verify", "bench", "kernels-1"}
    for file in tmp_path.iterdir():
        environment = json.loads(file.read_text())["environment"]
        assert environment["commit"] and environment["versions"]["torch"]


def test_a_command_that_fails_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu.sys, "argv", ["gpu", "--dry-run", "--output", str(tmp_path)])
    monkeypatch.setattr(gpu, "inception_fast", lambda words: int(words[0] == "bench"))
    assert gpu.main() == 1
    assert "failed: bench" in capsys.readouterr().err
