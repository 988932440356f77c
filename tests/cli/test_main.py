"""The dispatcher: how subcommands are found, what their exit status and options are."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inception_fast.cli import main as main_module
from inception_fast.cli.main import FAILED, WRONG_USE, main, subcommands
from inception_fast.cli.output import log, write_json
from inception_fast.errors import InputError


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``only(run)`` makes ``run`` the one subcommand, called ``probe``, with an option ``--batch``."""

    def replace(run: Any) -> None:
        module = SimpleNamespace(
            __doc__="Try things.\n\nMore.",
            add_arguments=lambda parser: parser.add_argument("--batch", type=int, default=1),
            run=run,
        )
        monkeypatch.setattr(main_module, "subcommands", lambda: {"probe": module})

    return replace


def test_subcommands_are_the_files_with_the_two_functions() -> None:
    found = subcommands()
    assert "doctor" in found
    assert not {"main", "table", "output", "progress", "machine"} & set(found)


def test_every_subcommand_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--help"])
    text = capsys.readouterr().out
    for name, module in subcommands().items():
        assert name in text
        assert module.__doc__


def test_arguments_and_status_pass_through(only: Any) -> None:
    seen: list[argparse.Namespace] = []
    only(lambda args: seen.append(args) or args.batch)
    assert main(["probe", "--batch", "3"]) == 3
    assert seen[0].json is None


def test_json_goes_to_the_file(only: Any, tmp_path: Path) -> None:
    only(lambda args: write_json(args.json, {"batch": args.batch}) or 0)
    assert main(["probe", "--json", str(tmp_path / "out.json")]) == 0
    assert json.loads((tmp_path / "out.json").read_text()) == {"batch": 1}


def test_json_refuses_what_is_not_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "out.json", {"error": float("nan")})


def test_json_into_a_missing_folder_is_refused_before_the_run(only: Any, capsys: pytest.CaptureFixture[str]) -> None:
    only(lambda args: pytest.fail("ran"))
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["probe", "--json", "no/such/folder/out.json"])
    assert "the folder no/such/folder does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["probe", "--batch", "three"]])
def test_wrong_use_is_status_2(only: Any, arguments: list[str]) -> None:
    only(lambda args: 0)
    with pytest.raises(SystemExit, match=r"^2$"):
        main(arguments)


def test_the_package_s_errors_are_one_line_on_stderr(only: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def run(args: argparse.Namespace) -> int:
        raise InputError("batch", args.batch, "at least 2")

    only(run)
    assert main(["probe"]) == WRONG_USE
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "inception-fast: batch: got 1, expected at least 2\n"


def test_errors_that_are_defects_keep_their_traceback(only: Any) -> None:
    def run(args: argparse.Namespace) -> int:
        raise KeyError("defect")

    only(run)
    with pytest.raises(KeyError):
        main(["probe"])


def test_interrupt_is_status_130(only: Any) -> None:
    def run(args: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    only(run)
    assert main(["probe"]) == 130


def test_logs_stay_off_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    log("half way")
    assert capsys.readouterr() == ("", "half way\n")


def test_reader_that_leaves_is_not_a_traceback() -> None:
    command = [sys.executable, "-m", "inception_fast.cli.main", "doctor"]
    # Buffered, the output meets the closed pipe only when it is flushed at the end.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, env=environment, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == FAILED
    assert "Traceback" not in errors and "BrokenPipe" not in errors
