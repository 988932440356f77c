"""``python -m benchmarks.gpu``: its jobs are commands that exist, and its budget, journal and resumption hold."""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import campaign
from benchmarks.gpu.campaign import FAILED, HELD, MISSING, NO_TIME, STOPPED, execute, run
from benchmarks.gpu.jobs import ALL_BATCHES, PARTS, SANITIZERS, Job, dry_jobs, jobs_of
from inception_fast import list_models
from inception_fast.cli.main import build_parser

ENVIRONMENT = {"commit": "abc"}


class Stage:
    """Plays jobs: their names, the seconds that each takes, and how it ends."""

    def __init__(self, seconds: Mapping[str, float], failing: tuple[str, ...] = ()) -> None:
        self.now, self.seconds, self.failing = 0.0, seconds, failing
        self.played: list[tuple[str, float]] = []

    def clock(self) -> float:
        return self.now

    def execute(self, job: Job, output: Path, seconds: float) -> str:
        self.played.append((job.name, seconds))
        output.write_text("first line\nlast words\n")
        self.now += min(self.seconds[job.name], seconds)
        if self.seconds[job.name] > seconds:
            return STOPPED
        return FAILED if job.name in self.failing else HELD

    def run(self, folder: Path, minutes: float, resume: bool = False) -> dict[str, str]:
        jobs = [Job(name, ("do", "{folder}/" + name), 2) for name in self.seconds]
        settings = {"minutes": minutes, "resume": resume, "execute": self.execute, "clock": self.clock}
        return {e.name: e.outcome for e in run(jobs, folder, ENVIRONMENT, **settings)}


def _words(job: Job) -> list[str] | None:
    """The arguments of a job that is an ``inception-fast`` command."""
    if job.command[1:3] != ("-m", "inception_fast"):
        return None
    return [word.replace("{folder}", os.curdir) for word in job.command[3:]]


def test_every_job_is_a_command_that_parses() -> None:
    parser, real, dry = build_parser(), jobs_of(PARTS), dry_jobs()
    for jobs in (real, dry):
        assert len({job.name for job in jobs}) == len(jobs)
    for job in real + dry:
        words = _words(job)
        if words is not None:
            assert parser.parse_args(words).json == Path(f"{job.name}.json")


def test_what_the_parts_cover() -> None:
    seen = set()
    for job in jobs_of(["sweep", "families"]):
        words = _words(job) or []
        if words[:1] == ["bench"]:
            args = build_parser().parse_args(words)
            seen |= {(m, p, b) for m in args.models for p in args.precision for b in args.batch}
    every_batch = {("inception_v3", p, b) for p in ("fp16", "bf16", "tf32") for b in (1, 2, 4, 8, 16, 32, 64, 128, 256)}
    assert every_batch | {(name, "fp16", b) for name in list_models() for b in (1, 32)} == seen
    assert len(ALL_BATCHES) == 9
    drivers = {
        (job.environment["INCEPTION_FAST_CUDA_DRIVER"], job.name.rpartition("-")[2]) for job in jobs_of(["latency"])
    }
    assert drivers == {(d, b) for d in ("stage", "pair", "network") for b in ("1", "2", "4", "8", "16")}
    assert {job.name for job in jobs_of(["checks"])} == {"tests", *(f"sanitizer-{tool}" for tool in SANITIZERS)}


def test_a_budget_stops_the_job_it_ends_in_and_leaves_out_the_rest(tmp_path: Path) -> None:
    stage = Stage({"a": 60, "b": 500, "c": 100, "d": 1})
    assert stage.run(tmp_path, minutes=4) == {"a": HELD, "b": STOPPED, "c": STOPPED, "d": NO_TIME}
    assert stage.played == [("a", 120), ("b", 120), ("c", 60)]


def test_the_journal_says_what_was_run_and_how_it_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Stage({"a": 1, "b": 2}, failing=("b",)).run(tmp_path, minutes=9)
    journal = json.loads((tmp_path / "journal.json").read_text())
    assert journal["environment"] == ENVIRONMENT
    assert [(e["name"], e["outcome"], e["seconds"]) for e in journal["jobs"]] == [("a", HELD, 1), ("b", FAILED, 2)]
    assert journal["jobs"][0]["command"] == ["do", f"{tmp_path}/a"]
    assert "last words" in capsys.readouterr().err


def test_resuming_repeats_what_did_not_hold(tmp_path: Path) -> None:
    Stage({"a": 1, "b": 2, "c": 3}, failing=("b",)).run(tmp_path, minutes=9)
    again = Stage({"a": 1, "b": 2, "c": 3})
    assert again.run(tmp_path, minutes=9, resume=True) == {"b": HELD}
    names = [e["name"] for e in json.loads((tmp_path / "journal.json").read_text())["jobs"]]
    assert names == ["a", "c", "b"]


def test_another_commit_resumes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Stage({"a": 1}).run(tmp_path, minutes=9)
    monkeypatch.setitem(ENVIRONMENT, "commit", "def")
    assert Stage({"a": 1}).run(tmp_path, minutes=9, resume=True) == {"a": HELD}


def _python(program: str, **environment: str) -> Job:
    return Job("job", (sys.executable, "-c", program), 1, environment)


def test_outcomes_of_real_processes(tmp_path: Path) -> None:
    output = tmp_path / "log"
    assert execute(_python("import os; print(os.environ['WHO'])", WHO="me"), output, 60) == HELD
    assert output.read_text() == "me\n"
    assert execute(_python("raise SystemExit(3)"), output, 60) == FAILED
    assert execute(Job("job", ("no-such-program-here",), 1), output, 60) == MISSING


def test_a_job_that_hangs_is_stopped_with_its_children(tmp_path: Path) -> None:
    pipe, output = tmp_path / "pipe", tmp_path / "log"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    child = f"sh -c 'exec 3>{pipe}; echo begun; exec tail -f /dev/null'"
    assert execute(Job("job", ("sh", "-c", f"{child} & wait"), 1), output, 3) == STOPPED
    assert output.read_text() == "begun\n"
    # Hung up: nobody is left who could write.
    poll = select.poll()
    poll.register(reader, select.POLLHUP)
    assert poll.poll(20_000)
    os.close(reader)


def test_without_a_gpu_nothing_is_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu"])
    monkeypatch.setattr(gpu, "run", lambda *_, **__: pytest.fail("something was run"))
    assert gpu.main() == 1
    assert "CUDA device" in capsys.readouterr().err


@pytest.mark.slow
def test_dry_run_goes_the_whole_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu", "--dry-run", "--output", str(tmp_path)])
    assert gpu.main() == 0
    for name in ("verify", "bench-inception_v3-fp32-1", "kernels-1"):
        environment = json.loads((tmp_path / f"{name}.json").read_text())["environment"]
        assert environment["commit"] and environment["versions"]["torch"]
        assert environment["command"].startswith("inception-fast ")


def test_exit_status_says_whether_all_held(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu", "--dry-run", "--output", str(tmp_path)])
    for outcome, status in ((HELD, 0), (NO_TIME, 0), (FAILED, 1), (STOPPED, 1), (MISSING, 1)):
        entry = campaign.Entry("a", ("do",), {}, outcome, 1.0)
        monkeypatch.setattr(gpu, "run", lambda *_, e=entry, **__: [e])
        assert gpu.main() == status
