"""Drives CMakeLists.txt. Where the C++ part cannot be built, the package installs without it and records why.

Environment: INCEPTION_FAST_NATIVE=0 leaves the C++ part out, =1 makes its absence an error; INCEPTION_FAST_CUDA_ARCHS is a
CMake list of GPU architectures ("80;90a-real"); CMAKE_ARGS is passed on to CMake.
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


def native_obstacle() -> str:
    """Why the C++ part cannot be built here; '' when it can."""
    if os.environ.get("INCEPTION_FAST_NATIVE") == "0":
        return "switched off with INCEPTION_FAST_NATIVE=0"
    compiler = find_compiler()
    if compiler is None:
        return f"no C++ compiler: none of {', '.join(COMPILERS)} is on PATH, and CXX is not set"
    missing = [tool for tool in ("cmake", "ninja") if find_tool(tool) is None]
    if importlib.util.find_spec("pybind11") is None:
        missing.append("pybind11")
    return f"build tools are missing: {', '.join(missing)}" if missing else probe_compiler(compiler)


def cmake_build(package: Path, version: str) -> dict[str, object]:
    """Configures, builds and installs the Python modules into ``package``; returns what CMake recorded."""
    cmake, ninja = find_tool("cmake"), find_tool("ninja")
    compiler = shlex.join(find_compiler() or [])
    # A cache belongs to one source folder, Python and compiler; another of any gets a cache of its own.
    key = hashlib.sha256(repr((str(ROOT), sys.prefix, sys.version, compiler)).encode()).hexdigest()[:8]
    build = ROOT / "build" / f"cmake-{key}"
    pybind11 = importlib.import_module("pybind11").get_cmake_dir()
    options = {
        "CMAKE_MAKE_PROGRAM": ninja,
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": pybind11,
        "IFAST_VERSION": version,
    }
    if os.environ.get("INCEPTION_FAST_CUDA_ARCHS"):
        options["IFAST_CUDA_ARCHITECTURES"] = os.environ["INCEPTION_FAST_CUDA_ARCHS"]
    defines = [f"-D{name}={value}" for name, value in options.items()]
    defines += shlex.split(os.environ.get("CMAKE_ARGS", ""))
    environment = os.environ | {"CXX": compiler}
    for arguments in (
        ["-S", str(ROOT), "-B", str(build), "-G", "Ninja", *defines],
        ["--build", str(build)],
        ["--install", str(build), "--prefix", str(package)],
    ):
        subprocess.run([cmake, *arguments], check=True, env=environment)
    return json.loads((build / "build_record.json").read_text())


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
        obstacle = native_obstacle()
        record: dict[str, object] = {"version": version, "commit": git_commit(), "machine": platform.machine()}
        if obstacle and os.environ.get("INCEPTION_FAST_NATIVE") == "1":
            raise SystemExit(f"INCEPTION_FAST_NATIVE=1, but {obstacle}")
        if obstacle:
            for stale in package.glob("_native*.so"):
                stale.unlink()
            print(
                f"{'!' * 80}\nWARNING: inception_fast is installed WITHOUT its C++ part: {obstacle}\n{'!' * 80}",
                file=sys.stderr,
            )
        else:
            record |= cmake_build(package, version)
        record["native"] = {"built": not obstacle, "reason": obstacle}
        (package / "_build_info.json").write_text(json.dumps(record, indent=2) + "\n")

    def get_outputs(self) -> list[str]:
        return []

    def get_output_mapping(self) -> dict[str, str]:
        return {}


if __name__ == "__main__":
    # The extension is named even where it cannot be built: the wheel describes this machine and must carry its tag.
    setup(ext_modules=[Extension("inception_fast._native", sources=[])], cmdclass={"build_ext": CMakeBuild})
