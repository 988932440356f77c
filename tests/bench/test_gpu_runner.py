"""``python -m benchmarks.gpu`` on parts that hold, fail, die and hang: each is named, and none stops the next."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import process
from benchmarks.gpu.journal import cases_of, read_lines
from benchmarks.gpu.part import FAILED, HELD, NO_TIME, SKIPPED, STOPPED
from benchmarks.gpu.setting import GPU
from inception_fast.tuning.precompile import PROCESSES
from tests.bench.planted_visit import run

ROOT = Path(__file__).resolve().parents[2]
LIMIT = "60"
"""Seconds for parts that end by themselves; nothing depends on them."""


class Planted:
    """Runs visits of planted parts in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.output = folder, folder / "out"
        self.status = 0

    def words(self, *parts: str, options: tuple[str, ...] = ()) -> list[str]:
        folders = ("--work", str(self.folder / "work"), "--output", str(self.output))
        return [*parts, "--", "--dry-run", *folders, *options]

    def __call__(self, *parts: str, options: tuple[str, ...] = ()) -> dict[str, str]:
        self.status = run(self.words(*parts, options=options))
        return self.outcomes()

    def lines(self) -> list[dict[str, Any]]:
        return read_lines(self.output / "results-1.jsonl")

    def outcomes(self) -> dict[str, str]:
        """By part, as packed."""
        journal = json.loads((self.output / "journal-1.json").read_text())
        return {name: part["outcome"] for name, part in journal["parts"].items()}

    def cases(self, part: str) -> dict[str, str]:
        return {name: line["outcome"] for name, line in cases_of(self.lines(), part).items()}

    def log(self, part: str) -> str:
        with tarfile.open(self.output / "files-1.tar.gz") as tar:
            found = tar.extractfile(f"logs/{part}.log")
            assert found is not None
            return found.read().decode()


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planted:
    monkeypatch.chdir(ROOT)
    return Planted(tmp_path)


def test_each_part_runs_whatever_became_of_the_one_before(planted: Planted) -> None:
    outcomes = planted(f"a={LIMIT}=fail=broken,hold", f"b={LIMIT}=hold", "c=5=hang,hold", f"d={LIMIT}=hold")
    assert outcomes == {"a": FAILED, "b": HELD, "c": STOPPED, "d": HELD}
    assert planted.status == 1
    assert planted.cases("a") == {"0-fail": FAILED, "1-hold": HELD}
    assert planted.cases("c") == {"0-hang": STOPPED}
    assert cases_of(planted.lines(), "a")["0-fail"]["reason"] == "ValueError: broken"
    assert "broken" in planted.log("a")


def test_a_part_that_holds_or_cannot_be_done_is_no_failure(planted: Planted) -> None:
    assert planted(f"a={LIMIT}=skip=no device", f"b={LIMIT}=hold,skip=no tool") == {"a": SKIPPED, "b": HELD}
    assert planted.status == 0
    reasons = {line["part"]: line["reason"] for line in planted.lines() if line["kind"] == "part"}
    assert reasons == {"a": "no device", "b": "without: no tool"}


def test_wrong_figures_are_a_failure_and_are_kept(planted: Planted) -> None:
    assert planted(f"a={LIMIT}=lose=too far off") == {"a": FAILED}
    line = cases_of(planted.lines(), "a")["0-lose"]
    assert line["reason"] == "too far off" and line["process"] > 0


def test_a_process_that_dies_is_started_again_behind_the_case_it_died_in(planted: Planted) -> None:
    assert planted(f"a={LIMIT}=hold,die,hold,die,hold") == {"a": FAILED}
    assert list(planted.cases("a").values()) == [HELD, FAILED, HELD, FAILED, HELD]
    held = [line["process"] for line in cases_of(planted.lines(), "a").values() if line["outcome"] == HELD]
    assert len(set(held)) == 3
    assert "exit status 3" in cases_of(planted.lines(), "a")["1-die"]["reason"]


def test_a_process_that_cannot_begin_is_not_started_for_ever(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bench.planted_visit.MODULE", "tests.bench.no_such_module")
    assert planted(f"a={LIMIT}=hold") == {"a": FAILED}
    assert "no_such_module" in planted.log("a")


def test_a_case_over_its_own_limit_ends_its_process_and_not_the_next_case(planted: Planted) -> None:
    assert planted(f"a={LIMIT}=freeze,hold") == {"a": STOPPED}
    assert planted.cases("a") == {"0-freeze": STOPPED, "1-hold": HELD}
    assert "Timeout" in planted.log("a") and "planted_part.py" in planted.log("a")


def test_parts_alongside_each_other_end_before_the_next_begins(planted: Planted, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # Reading waits for a writer and writing for a reader, so neither ends if they do not run together.
    assert planted(f"a=30=read={pipe}", f"b+=30=write={pipe}", f"c={LIMIT}=hold") == {"a": HELD, "b": HELD, "c": HELD}
    kinds = [(line["kind"], line["part"]) for line in planted.lines() if line["kind"] in ("begin", "part")]
    assert kinds.index(("begin", "c")) > max(kinds.index(("part", "a")), kinds.index(("part", "b")))


def test_a_part_alongside_can_wait_for_one_of_the_others(planted: Planted) -> None:
    outcomes = planted(f"a={LIMIT}=hold", f"b+={LIMIT}=fail=x", f"c+b={LIMIT}=hold", f"d+gone={LIMIT}=hold")
    assert outcomes == {"a": HELD, "b": FAILED, "c": HELD, "d": HELD}
    kinds = [(line["kind"], line["part"]) for line in planted.lines()[1:]]
    assert kinds.index(("begin", "c")) > kinds.index(("part", "b"))


def test_cases_that_a_parts_limit_leaves_no_time_for_are_named(planted: Planted) -> None:
    # A second of it is the margin that a part keeps from the runner's own limit.
    assert planted("a=1=hold,hold") == {"a": NO_TIME}
    assert set(planted.cases("a").values()) == {NO_TIME}
    assert planted.status == 0


def test_a_budget_stops_the_part_it_ends_in_and_leaves_out_the_rest(planted: Planted) -> None:
    outcomes = planted(f"a={LIMIT}=hang", f"b={LIMIT}=hold", options=("--seconds", "6"))
    assert outcomes == {"a": STOPPED, "b": NO_TIME}


def test_what_a_part_started_is_gone_with_it(planted: Planted, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert planted(f"a=6=wait={pipe}") == {"a": STOPPED}
    assert os.read(reader, 100) == b"begun\n"
    # Hung up: nobody is left who could write.
    poll = select.poll()
    poll.register(reader, select.POLLHUP)
    assert poll.poll(20_000)
    os.close(reader)


def test_a_signal_in_the_middle_packs_what_is_there(planted: Planted, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    words = planted.words(f"a={LIMIT}=hold", f"b={LIMIT}=wait={pipe}", f"c={LIMIT}=hold")
    command = [sys.executable, "-m", "tests.bench.planted_visit", *words]
    visit = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with pipe.open() as begun:
        assert begun.readline() == "begun\n"
        visit.send_signal(signal.SIGTERM)
        printed, _ = visit.communicate(timeout=60)
        assert begun.read() == ""
    assert visit.returncode == 1
    assert planted.outcomes() == {"a": HELD, "b": STOPPED, "c": NO_TIME}
    assert planted.cases("b") == {"0-wait": STOPPED}
    assert "the visit was ended" in printed and "no time left" in printed
    assert planted.log("a")


def test_resuming_repeats_what_did_not_hold(planted: Planted) -> None:
    parts = (f"a={LIMIT}=hold", f"b={LIMIT}=hold,fail=x", f"c={LIMIT}=hold")
    planted(*parts)
    before = {part: cases_of(planted.lines(), part)["0-hold"]["process"] for part in "abc"}
    assert planted(*parts, options=("--resume",)) == {"a": HELD, "b": FAILED, "c": HELD}
    after = planted.lines()
    assert {part: cases_of(after, part)["0-hold"]["process"] for part in "abc"} == before
    begun = [(line["part"], line["case"]) for line in after if line["kind"] == "begin"]
    assert begun == [("b", "1-fail")]


def test_other_sources_resume_nothing(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(f"a={LIMIT}=hold")
    # Only the name in the journal differs: the lines that are there are of other sources.
    journal = planted.folder / "work" / "journal-1.jsonl"
    lines = [{**line, "digest": "0" * 64} for line in read_lines(journal)]
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    planted(f"a={LIMIT}=hold", options=("--resume",))
    assert [line["kind"] for line in planted.lines() if line.get("part") == "a"] == ["begin", "case", "part"]


def test_the_second_command_tries_again_what_did_not_hold(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = (f"build={LIMIT}=hold", f"timing={LIMIT}=fail=x", f"traces={LIMIT}=skip=x")
    planted(*parts, f"variants={LIMIT}=hold,fail=x", f"ncu={LIMIT}=hold")
    chosen: dict[str, Any] = {}

    def remember(self: object, parts: Any, done: frozenset[str]) -> None:
        chosen.update(parts=[part.name for part in parts], done=done)

    monkeypatch.setattr(gpu.Runner, "run", remember)
    words = planted.words(options=("--command", "2"))
    assert gpu.main(words[1:]) == 0
    assert chosen["parts"] == ["build", "networks", "memcheck", "racecheck", "tune", "timing", "variants"]
    assert chosen["done"] == {"build"}
    # Of a part that did not hold only the cases that did not are done again.
    lines = read_lines(planted.output / "results-2.jsonl")
    assert cases_of(lines, "variants").keys() == {"0-hold"} and not cases_of(lines, "ncu")


def test_a_folder_that_cannot_be_written_ends_no_visit(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    pack, times = gpu.Packer.pack, []

    def full_at_first(self: gpu.Packer, *arguments: Any) -> None:
        times.append(0)
        if len(times) == 1:
            raise OSError("no space left on device")
        pack(self, *arguments)

    monkeypatch.setattr(gpu.Packer, "pack", full_at_first)
    assert planted(f"a={LIMIT}=hold", f"b={LIMIT}=hold") == {"a": HELD, "b": HELD}
    reasons = [line["reason"] for line in planted.lines() if line["kind"] == "packing"]
    assert reasons == ["OSError: no space left on device"]


def test_a_process_that_does_not_die_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kill = os.killpg
    monkeypatch.setattr(os, "killpg", lambda *_: None)
    monkeypatch.setattr(process, "LONGEST_DEATH", 0.01)
    group = process.ProcessGroup(["tail", "-f", os.devnull], tmp_path / "log", {}, tmp_path)
    group.end()
    assert group.status() is None
    monkeypatch.setattr(os, "killpg", kill)
    monkeypatch.setattr(process, "LONGEST_DEATH", float(LIMIT))
    group.end()
    assert group.status() == -signal.SIGKILL


def test_a_part_compiles_nothing_beside_itself_and_jax_leaves_memory_to_others(tmp_path: Path) -> None:
    told = gpu.variables(GPU, tmp_path)
    assert told[PROCESSES] == "0"
    assert told["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"


def test_without_a_gpu_nothing_is_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(gpu.clocks, "machine", lambda: {"gpu": None, "driver": None})
    monkeypatch.setattr(gpu.shutil, "which", lambda _: None)
    monkeypatch.setattr(gpu, "Runner", lambda *_: pytest.fail("something was run"))
    assert gpu.main([]) == 1
    assert "needs a GPU" in capsys.readouterr().err
