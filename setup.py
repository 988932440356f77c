"""Drives CMakeLists.txt. Where the C++ part cannot be built, the package installs without it and records why.

Environment: INCEPTION_FAST_NATIVE=0 leaves the C++ part out, =1 makes its absence an error; CMAKE_ARGS is passed on to
CMake, such as CMAKE_ARGS="-DIFAST_CUDA_ARCHITECTURES=80;100a-real" or CMAKE_ARGS=-DIFAST_CUDA=OFF.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
COMPILERS = ("c++", "g++", "clang++")
INSTALL_COMPILER = "install a C++20 compiler (g++ 11 or clang 14, or later) and Python's headers, then install again"
BAR = "!" * 80
PROBE = """
#include <Python.h>
#include <concepts>
#include <span>
std::integral auto probe(std::span<const int> s) { return s[0] + PY_MAJOR_VERSION; }
"""


def find_compiler() -> list[str] | None:
    """The C++ compiler's command: $CXX, or the first usual name on PATH."""
    if os.environ.get("CXX"):
        return shlex.split(os.environ["CXX"])
    return next(([name] for name in COMPILERS if shutil.which(name)), None)


def find_tool(name: str) -> str | None:
    """``cmake`` or ``ninja`` from the Python package of that name (a build requirement), else from PATH."""
    try:
        package = importlib.import_module(name)
    except ImportError:
        return shutil.which(name)
    folder = getattr(package, "CMAKE_BIN_DIR", None) or getattr(package, "BIN_DIR", None)
    return (folder and shutil.which(name, path=folder)) or shutil.which(name)


def probe_compiler(compiler: list[str]) -> str:
    """Why ``compiler`` cannot compile C++20 against this Python's headers; '' when it can."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "probe.cpp").write_text(PROBE)
        command = [*compiler, "-std=c++20", f"-I{sysconfig.get_path('include')}", "-c", "probe.cpp", "-o", "probe.o"]
        try:
            result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        except OSError as error:
            return f"the C++ compiler {compiler[0]} does not start: {error.strerror}"
    if result.returncode == 0:
        return ""
    lines = result.stderr.splitlines() or [f"exit status {result.returncode}"]
    error = next((line for line in lines if "error" in line), lines[0])
    return f"the C++ compiler {compiler[0]} fails on a C++20 program that includes Python.h: {error.strip()}"


def native_obstacle() -> tuple[str, str]:
    """Why the C++ part cannot be built here and what to do about it; empty when it can."""
    if os.environ.get("INCEPTION_FAST_NATIVE") == "0":
        return "switched off with INCEPTION_FAST_NATIVE=0", "unset INCEPTION_FAST_NATIVE and install again"
    compiler = find_compiler()
    if compiler is None:
        return f"no C++ compiler: none of {', '.join(COMPILERS)} is on PATH, and CXX is not set", INSTALL_COMPILER
    missing = [tool for tool in ("cmake", "ninja") if find_tool(tool) is None]
    if importlib.util.find_spec("pybind11") is None:
        missing.append("pybind11")
    if missing:
        return f"build tools are missing: {', '.join(missing)}", "install again without --no-build-isolation"
    failure = probe_compiler(compiler)
    return (failure, INSTALL_COMPILER) if failure else ("", "")


def cmake_build(version: str) -> tuple[list[Path], dict[str, object]]:
    """Configures and builds; returns the Python modules and what CMake recorded."""
    cmake, ninja = find_tool("cmake"), find_tool("ninja")
    compiler = shlex.join(find_compiler() or [])
    # CMake keeps what it found at first, so another source folder, Python or compiler gets a build folder of its own.
    nvcc = os.environ.get("CUDACXX") or shutil.which("nvcc")
    key = repr((str(ROOT), sys.prefix, sys.version, compiler, nvcc)).encode()
    build = ROOT / "build" / f"cmake-{hashlib.sha256(key).hexdigest()[:8]}"
    pybind11 = importlib.import_module("pybind11").get_cmake_dir()
    options = {
        "CMAKE_MAKE_PROGRAM": ninja,
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": pybind11,
        "IFAST_VERSION": version,
    }
    defines = [f"-D{name}={value}" for name, value in options.items()]
    defines += shlex.split(os.environ.get("CMAKE_ARGS", ""))
    environment = os.environ | {"CXX": compiler}
    shutil.rmtree(build / "modules", ignore_errors=True)
    for arguments in (
        ["-S", str(ROOT), "-B", str(build), "-G", "Ninja", *defines],
        ["--build", str(build)],
        ["--install", str(build), "--prefix", str(build / "modules")],
    ):
        subprocess.run([cmake, *arguments], check=True, env=environment)
    return list((build / "modules").iterdir()), json.loads((build / "build_record.json").read_text())


def git_commit() -> str | None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        return None
    result = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True)
    return result.stdout.strip() or None


class CMakeBuild(build_ext):
    """Puts the compiled modules and ``_build_info.json`` into the package, in place for an editable install."""

    def run(self) -> None:
        package = (ROOT if self.inplace else Path(self.build_lib).resolve()) / "inception_fast"
        package.mkdir(parents=True, exist_ok=True)
        version = self.distribution.get_version()
        reason, advice = native_obstacle()
        record: dict[str, object] = {"version": version, "commit": git_commit(), "machine": platform.machine()}
        if reason and os.environ.get("INCEPTION_FAST_NATIVE") == "1":
            raise SystemExit(f"INCEPTION_FAST_NATIVE=1, but {reason}")
        if reason:
            print(f"{BAR}\nWARNING: inception_fast is built WITHOUT its C++ part: {reason}\n{BAR}", file=sys.stderr)
        modules, built = ([], {}) if reason else cmake_build(version)
        # Deleted before the copy: writing into a module that a running process has mapped would crash that process.
        for stale in package.glob("_native*.so"):
            stale.unlink()
        for module in modules:
            shutil.copy2(module, package)
        record |= built
        record["native"] = {"built": not reason, "reason": reason, "advice": advice}
        (package / "_build_info.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    # The extension is named even where it cannot be built: the wheel describes this machine and must carry its tag.
    setup(ext_modules=[Extension("inception_fast._native", sources=[])], cmdclass={"build_ext": CMakeBuild})
