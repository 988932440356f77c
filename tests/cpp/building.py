"""Builds C++ programs from the checkout with CMake, as their users do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KERNELS = {"avx2": ("AVX2",), "avx512": ("AVX512", "AVX512BF16", "AVX512VNNI")}
"""What is compiled for an instruction set besides the portable kernels, which take the least time."""

# What takes least to compile. Checks of every pointer would double it; AddressSanitizer sees where a wrong one leads.
MEMORY_SANITIZERS = "-O0 -fsanitize=address,undefined -fno-sanitize=null,alignment,object-size,vptr"


def tool(name: str) -> str:
    """A program from this Python's environment or from PATH; skips the test where there is none."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which(name, path=places)
    if found is None:
        pytest.skip(f"needs {name}")
    return found


def build(source: Path, folder: Path, *defines: str, target: str = "all") -> Path:
    """Configures and builds ``source`` in ``folder``, and returns ``folder``; skips without the tools."""
    cmake, ninja = tool("cmake"), tool("ninja")
    tool(os.environ.get("CXX", "c++").split()[0])
    common = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}", f"-DINCEPTION_FAST_SOURCE={ROOT}", "-DIFAST_CUDA=OFF"]
    run(cmake, "-S", source, "-B", folder, *common, *defines)
    run(cmake, "--build", folder, "--target", target, "--parallel", "2")
    return folder


def build_sanitized(folder: Path, flags: str, *, target: str, isas: Sequence[str] = ()) -> Path:
    """Builds ``tests/cpp`` with the portable kernels, and those of some instruction sets, under sanitizers; skips where
    the compiler or system has none.
    """
    compiler = os.environ.get("CXX", "c++").split()
    tool(compiler[0])
    probe = folder / "probe.cpp"
    probe.write_text("int main() {}\n")
    compiled = subprocess.run([*compiler, *flags.split(), probe, "-o", folder / "probe"], capture_output=True)
    if compiled.returncode != 0 or subprocess.run([folder / "probe"], capture_output=True).returncode != 0:
        pytest.skip(f"{compiler[0]} has no {flags} here")
    options = ["-DCMAKE_BUILD_TYPE=Debug", f"-DCMAKE_CXX_FLAGS_DEBUG=-g1 -fno-sanitize-recover=all {flags}"]
    left_out = [f"-DIFAST_COMPILES_{name}=OFF" for isa, names in KERNELS.items() if isa not in isas for name in names]
    return build(Path(__file__).parent, folder / "build", *left_out, *options, target=target)


def run(*command: str | Path) -> None:
    """Runs a command that must succeed, and shows its last lines where it does not."""
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, (result.stdout + result.stderr)[-4000:]
