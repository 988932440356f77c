"""The commands that the README names, and what they would do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

TARGETS = {"help", "demo", "test", "lint", "mutate", "fuzz", "bench", "gpu", "clean"}
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(folder: Path, *arguments: str) -> str:
    # Without this, a run under `make test` hands its own flags down.
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "TORCH")}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout


@needs_make
def test_help_says_what_each_target_does(root: Path) -> None:
    described = dict(re.findall(r"^make (\w+) +(\S.*)$", make(root, "help"), re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", (root / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert set(described) == set(phony[1].split()) == TARGETS


def test_readme_names_the_commands(root: Path) -> None:
    readme = (root / "README.md").read_text()
    named = set(re.findall(r"\bmake ([a-z]+)\b", readme)) & TARGETS
    assert {"demo", "test", "help"} <= named


def test_ci_runs_lint_and_test_and_passes_on_failure(root: Path, tmp_path: Path) -> None:
    fake = tmp_path / "make"
    fake.write_text('#!/bin/sh\necho "$PWD: $@"\nexit 3\n')
    fake.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    result = subprocess.run([root / ".ci" / "run"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.stdout == f"{root}: lint test\n"
    assert result.returncode == 3


@needs_make
def test_chosen_torch_reaches_every_installation(checkout: Path) -> None:
    plan = make(checkout, "-n", "bench", "TORCH=2.11.0")
    with_dependencies = [line for line in plan.splitlines() if "pip install" in line and "--no-deps" not in line]
    assert len(with_dependencies) == 3
    assert all("torch==2.11.0" in line and "--constraint constraints.txt" in line for line in with_dependencies)


@needs_make
def test_newest_torch_by_default(checkout: Path) -> None:
    assert "torch==" not in make(checkout, "-n", "test")


@needs_make
def test_long_tests_run_on_request(checkout: Path) -> None:
    options = "--numprocesses 2 --dist loadfile --no-loadscope-reorder --timeout 900"
    assert f'pytest {options} -m "not slow"' in make(checkout, "-n", "test")
    assert "not slow" not in make(checkout, "-n", "test", "SLOW=1")


@needs_make
def test_second_run_installs_nothing(checkout: Path) -> None:
    (checkout / ".venv").mkdir()
    for stamp in (".torch-newest", ".installed"):
        (checkout / ".venv" / stamp).touch()
    (command,) = make(checkout, "-n", "test").splitlines()
    assert command.startswith(".venv/bin/python -m pytest ")
    assert "pip install" in make(checkout, "-n", "test", "TORCH=2.11.0")


def test_every_tool_is_pinned_except_torch(root: Path) -> None:
    lines = (root / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0] for line in lines if line and not line.startswith("#")}
    assert not {"torch", "torchvision", "triton"} & pinned
    required = metadata.requires("inception-fast") or []
    extras = [r for r in required if re.search(r'extra == "(lint|bench)"', r)]
    tools = {match[0] for r in extras if (match := re.match(r"[\w-]+", r))}
    assert len(tools) == 7 and tools <= pinned
    assert {"pytest", "hypothesis", "timm", "facenet-pytorch", "pytorch-fid"} <= pinned
