"""``inception-fast bench`` from its arguments to its exit status, tables and JSON."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from inception_fast.bench import peers
from inception_fast.bench.peers import Contestant, PeerUnavailableError, Task
from inception_fast.cli.main import FAILED, WRONG_USE, main

QUICK = ["bench", "tests.bench.nets:small", "--size", "31", "--random", "--rounds", "2", "--backend", "torch"]


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str]):
    """``bench(*arguments)`` gives the exit status and what was printed."""

    def run(*arguments: str) -> tuple[int, str]:
        status = main([*QUICK, *arguments])
        return status, capsys.readouterr().out

    return run


def wrong(task: Task) -> list[Contestant]:
    module, x = task.module(), task.input()
    return [Contestant("eager wrong", lambda: module(x) + 1, "")]


def broken(task: Task) -> list[Contestant]:
    raise PeerUnavailableError("it has a day off")


def test_a_contest_is_a_table_with_everyone(bench) -> None:
    status, out = bench("--batch", "1", "--batch", "2", "--peer", "eager")
    assert status == 0
    for title in ("batch 1, fp32", "batch 2, fp32"):
        assert title in out
    for name in ("inception_fast torch", "eager contiguous", "eager channels_last"):
        assert out.count(f"\n{name} ") == 2
    assert "FAILED" not in out


def test_the_json_has_everything(bench, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    status, _ = bench("--batch", "2", "--peer", "eager", "--json", str(path), "--require", "1e-6", "eager")
    found = json.loads(path.read_text())
    assert status == 0 and found["ok"] is True
    assert {"command", "commit", "versions", "cpu"} <= set(found["environment"])
    assert {"device", "threads", "inputs", "requirements"} <= set(found)
    assert found["inputs"] == "noise"
    (contest,) = found["contests"]
    assert (contest["model"], contest["size"], contest["batch"]) == ("tests.bench.nets:small", 31, 2)
    assert (contest["baseline"], contest["precision"]) == ("inception_fast torch", "fp32")
    assert len(contest["rows"]) == 3
    for row in contest["rows"]:
        assert len(row["samples"]) == row["seconds"]["count"] == 2
        assert {"median", "p10", "p90"} <= set(row["seconds"]) & set(row["ratio"])
        assert row["error"]["relative_l2"] <= row["bound"]
        assert row["correct"] is True


def test_a_wrong_peer_fails_and_is_named(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peers.PEERS, "eager", wrong)
    status, out = bench("--batch", "1", "--peer", "eager")
    assert status == FAILED
    assert "FAILED eager wrong: wrong result" in out
    assert "WRONG" in out


def test_our_wrong_result_fails(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.bench.planted import plant

    plant(monkeypatch, "stem.relu")
    status, out = bench("--batch", "1", "--peer", "eager")
    assert status == FAILED
    assert "FAILED inception_fast torch: wrong result" in out


@pytest.mark.parametrize(("ratio", "status"), [("1e-6", 0), ("1e6", FAILED)])
def test_a_requirement_decides(ratio: str, status: int, bench) -> None:
    got, out = bench("--batch", "1", "--peer", "eager", "--require", ratio, "eager")
    assert got == status
    assert ("FAILED required: eager at least" in out) == (status != 0)


def test_a_peer_that_is_not_here_only_fails_where_it_was_asked_for(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in peers.PEERS:
        monkeypatch.setitem(peers.PEERS, name, broken)
    status, out = bench("--batch", "1")
    assert status == 0
    assert "skipped openvino: it has a day off" in out
    assert bench("--batch", "1", "--peer", "openvino")[0] == FAILED
    assert bench("--batch", "1", "--require", "1e-6", "openvino")[0] == FAILED


def test_a_missing_package_is_a_reason(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    gone = lambda name, *rest: None if name == "openvino" else find(name, *rest)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", gone)
    status, out = bench("--batch", "1", "--peer", "openvino")
    assert status == FAILED
    assert "skipped openvino: openvino is not installed" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--precision", "fp12"], ["precision", "fp12", "bf16"]),
        (["--backend", "gpu9"], ["backend", "gpu9", "torch"]),
        (["--require", "fast", "eager"], ["--require", "fast", "number"]),
        (["--require", "2", "tensorflow"], ["--require", "tensorflow", "openvino"]),
        (["--device", "abacus"], ["--device", "abacus"]),
    ],
)
def test_wrong_use_is_told_what_is_possible(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*QUICK, "--batch", "1", *arguments]) == WRONG_USE
    err = capsys.readouterr().err
    assert all(word in err for word in words)


def test_an_unknown_model_is_told_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "no_such_model"]) == WRONG_USE
    err = capsys.readouterr().err
    assert "no_such_model" in err and "inception_v3" in err


@pytest.mark.parametrize("arguments", [["--batch", "0"], ["--rounds", "-1"], ["--peer", "tensorflow"]])
def test_what_the_parser_refuses(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*QUICK, *arguments])
    assert caught.value.code == WRONG_USE
