"""The build without a usable compiler: the install succeeds, says so, and records the reason."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
from setuptools import Distribution, Extension

from inception_fast._build_info import parse_build_info


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INCEPTION_FAST_NATIVE", raising=False)


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))


def write_compiler(folder: Path, script: str) -> str:
    path = folder / "fake-c++"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def make_command(setup_script: ModuleType, build_lib: Path) -> object:
    extension = Extension("inception_fast._native", sources=[])
    command = setup_script.CMakeBuild(Distribution({"name": "probe", "version": "1.2.3", "ext_modules": [extension]}))
    command.build_lib = str(build_lib)
    command.ensure_finalized()
    return command


@pytest.mark.usefixtures("no_compiler")
def test_no_compiler_on_path_is_the_reason(setup_script: ModuleType) -> None:
    reason, advice = setup_script.native_obstacle()
    assert "no C++ compiler: none of c++, g++, clang++ is on PATH" in reason
    assert "install a C++20 compiler" in advice


def test_compiler_that_does_not_exist(setup_script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler --flag")
    reason, _ = setup_script.native_obstacle()
    assert "no-such-compiler does not start" in reason


def test_compiler_that_fails_is_quoted(
    setup_script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = "echo 'In file included from probe' >&2; echo 'fake: error: unknown standard c++20' >&2; exit 1"
    monkeypatch.setenv("CXX", write_compiler(tmp_path, script))
    reason, advice = setup_script.native_obstacle()
    assert "fake: error: unknown standard c++20" in reason
    assert "C++20" in advice


def test_compiler_that_works_is_no_obstacle(
    setup_script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CXX", write_compiler(tmp_path, "exit 0"))
    monkeypatch.setattr(setup_script, "find_tool", lambda name: name)
    monkeypatch.setattr(setup_script.importlib.util, "find_spec", lambda name: object())
    assert setup_script.native_obstacle() == ("", "")


def test_missing_build_tools_are_named(setup_script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "c++")
    monkeypatch.setattr(setup_script, "find_tool", lambda name: None)
    monkeypatch.setattr(setup_script.importlib.util, "find_spec", lambda name: None)
    assert setup_script.native_obstacle()[0] == "build tools are missing: cmake, ninja, pybind11"


@pytest.mark.usefixtures("no_compiler")
def test_install_without_compiler_records_the_reason(
    setup_script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "lib" / "inception_fast"
    package.mkdir(parents=True)
    stale = package / "_native.cpython-00.so"
    stale.touch()

    make_command(setup_script, tmp_path / "lib").run()

    assert "WITHOUT its C++ part: no C++ compiler" in capsys.readouterr().err
    assert not stale.exists()
    info = parse_build_info(json.loads((package / "_build_info.json").read_text()))
    assert info.version == "1.2.3"
    assert not info.native.built and "no C++ compiler" in info.native.reason
    assert not info.cuda.built and info.cuda.reason == "there is no C++ part"
    assert info.cuda.advice == info.native.advice != ""


@pytest.mark.usefixtures("no_compiler")
def test_native_part_can_be_required(setup_script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INCEPTION_FAST_NATIVE", "1")
    with pytest.raises(SystemExit, match="INCEPTION_FAST_NATIVE=1, but no C"):
        make_command(setup_script, tmp_path).run()


def test_native_part_can_be_left_out(setup_script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INCEPTION_FAST_NATIVE", "0")
    assert setup_script.native_obstacle()[0] == "switched off with INCEPTION_FAST_NATIVE=0"


def test_package_that_was_never_built() -> None:
    info = parse_build_info({})
    assert info.version is None
    assert not info.native.built and "never installed" in info.native.reason
    assert not info.cuda.built
