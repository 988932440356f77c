"""What CMake configures: nothing is compiled here beyond CMake's own probes."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

X86 = platform.machine() in ("x86_64", "AMD64")


@pytest.fixture
def configure(setup_script: ModuleType, checkout: Path, tmp_path: Path) -> Any:
    """Returns ``configure(*defines, **environment) -> (record, compile commands by file name)`` over ``checkout``."""
    cmake, ninja = setup_script.find_tool("cmake"), setup_script.find_tool("ninja")
    if setup_script.find_compiler() is None or cmake is None or ninja is None:
        pytest.skip("needs a C++ compiler, cmake and ninja")

    def run(*defines: str, **environment: str) -> tuple[dict[str, Any], dict[str, str]]:
        build = tmp_path / "build"
        common = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"]
        subprocess.run(
            [cmake, "-S", checkout, "-B", build, *common, "-DIFAST_PYTHON=OFF", *defines],
            check=True,
            capture_output=True,
            env=os.environ | environment,
        )
        listing = build / "compile_commands.json"
        commands = json.loads(listing.read_text()) if listing.exists() else []
        return json.loads((build / "build_record.json").read_text()), {
            entry["file"].rpartition("/csrc/")[2]: entry["command"] for entry in commands
        }

    return run


def add_source(checkout: Path, name: str) -> None:
    path = checkout / "csrc" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("int probe() { return 1; }\n")


@pytest.mark.skipif(not X86, reason="AVX is x86-64's")
def test_only_the_folder_of_an_instruction_set_gets_its_flags(configure: Any, checkout: Path) -> None:
    add_source(checkout, "cpu/probe.cpp")
    for name in ("avx2", "avx512", "avx512_bf16", "avx512_vnni"):
        add_source(checkout, f"cpu/kernels/{name}/probe.cpp")
    record, commands = configure("-DIFAST_CUDA=OFF")
    built = record["instruction_sets"].split(";")
    assert {"avx2", "avx512"} <= set(built)
    assert "-mavx" not in commands["cpu/probe.cpp"]
    assert (
        "-mavx2" in commands["cpu/kernels/avx2/probe.cpp"] and "-mavx512" not in commands["cpu/kernels/avx2/probe.cpp"]
    )
    for name in built[1:]:
        assert {"-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma"} <= set(
            commands[f"cpu/kernels/{name}/probe.cpp"].split()
        )
    assert "-mavx512bf16" not in commands["cpu/kernels/avx512/probe.cpp"]


def test_arithmetic_stays_ieee(configure: Any, checkout: Path) -> None:
    add_source(checkout, "cpu/probe.cpp")
    _, commands = configure("-DIFAST_CUDA=OFF")
    assert all("-O3" in command and "fast-math" not in command for command in commands.values())


def test_other_processors_leave_out_the_x86_files(configure: Any, checkout: Path) -> None:
    add_source(checkout, "cpu/probe.cpp")
    add_source(checkout, "cpu/kernels/avx512/probe.cpp")
    record, commands = configure("-DIFAST_CUDA=OFF", "-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64")
    assert record["instruction_sets"] == ""
    assert "cpu/probe.cpp" in commands
    assert not [name for name in commands if "avx" in name]


def test_empty_rooms_configure(configure: Any, checkout: Path) -> None:
    for room in ("plan", "cpu", "cuda", "emulator"):
        shutil.rmtree(checkout / "csrc" / room, ignore_errors=True)
    record, _ = configure()
    assert record["cuda"]["reason"] == "this version has no CUDA kernels"


def test_nvcc_that_does_not_work_is_recorded(configure: Any, checkout: Path) -> None:
    add_source(checkout, "cuda/probe.cu")
    record, _ = configure(CUDACXX=shutil.which("false") or "/bin/false")
    assert record["cuda"]["built"] is False
    assert record["cuda"]["reason"] == "no working nvcc was found"
    assert "CUDACXX" in record["cuda"]["advice"]


def test_the_library_has_the_emulator_on_request(configure: Any, checkout: Path) -> None:
    _, commands = configure("-DIFAST_CUDA=OFF")
    assert "library/engine.cpp" in commands and "library/device_runner.cpp" not in commands
    assert "IFAST_WITH_EMULATOR" not in commands["library/engine.cpp"]
    _, commands = configure("-DIFAST_CUDA=OFF", "-DIFAST_EMULATOR=ON")
    assert "IFAST_WITH_EMULATOR=1" in commands["library/engine.cpp"]
    assert "IFAST_MAKE_RUNNER=make_emulator_runner" in commands["library/device_runner.cpp"]


def test_cuda_can_be_switched_off(configure: Any, checkout: Path) -> None:
    add_source(checkout, "cuda/probe.cu")
    record, commands = configure("-DIFAST_CUDA=OFF")
    assert "IFAST_CUDA=OFF" in record["cuda"]["reason"]
    assert "cuda/probe.cu" not in commands
