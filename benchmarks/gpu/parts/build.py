"""Builds the package in place for this GPU alone, with what is installed here.

``--modules FOLDER`` (the dry run's) takes the compiled modules from another build of the same sources: there the setup
script and CMake's configuration must run in the bare tree, and compiling the same files again would prove nothing that
the build which is tested beside it does not.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.gpu.part import HELD
from benchmarks.gpu.parts.environment import output
from benchmarks.gpu.source_digest import ROOT
from benchmarks.gpu.worker import COMMIT, Visit, main

NEWEST = "90a-real"
"""What is built for where no GPU says what it is."""
PROBE = "import importlib; print(importlib.import_module('inception_fast.{}').version)"
MARK = "modules-load"
"""A file in the visit's folder, which is of these sources alone."""
MODULES = ("_native", "_native_cuda")


def run(visit: Visit) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--modules", type=Path)
    modules = parser.parse_args(visit.arguments).modules
    if modules is None:
        visit.case("build", lambda: build_once(visit.work / MARK), 600)
    else:
        visit.case("configure", lambda: {"wrong": configure(visit.work / "configured", ["-DIFAST_CUDA=OFF"])}, 120)
        visit.case("build", lambda: take(modules), 60)
    for name in MODULES if modules is None else ("_native", "_native_emulator"):
        visit.case(name, lambda name=name: load(name), 60)
    if modules is None and all(visit.figures()[name]["outcome"] == HELD for name in MODULES):
        (visit.work / MARK).touch()


def build_once(mark: Path) -> dict[str, Any]:
    """Builds, unless a visit of the same sources has left modules that load, whatever became of its build."""
    if mark.exists() and not any(load(name)["wrong"] for name in MODULES):
        return {"architecture": architecture(), "by": "an earlier command"}
    return build(architecture())


def architecture() -> str:
    """The GPU's, as CMake's CUDA_ARCHITECTURES names it, with the instructions that only it has."""
    text = output(["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"])
    numbers = (text or "").split("\n")[0].strip().replace(".", "")
    if not numbers.isdigit():
        return NEWEST
    return f"{numbers}{'a' if int(numbers) >= 90 else ''}-real"


def build(architecture: str) -> dict[str, Any]:
    """``setup.py build_ext --inplace``, on all cores; neither an index nor an isolated environment is asked for.

    Where that fails, CMake alone, which keeps what does compile: the parts behind this one take what is there.
    """
    defines = [*shlex.split(os.environ.get("CMAKE_ARGS", "")), f"-DIFAST_CUDA_ARCHITECTURES={architecture}"]
    cores = str(os.cpu_count() or 1)
    settings = {"CMAKE_ARGS": shlex.join(defines), "CMAKE_BUILD_PARALLEL_LEVEL": cores, "INCEPTION_FAST_NATIVE": "1"}
    command = [sys.executable, "setup.py", "build_ext", "--inplace"]
    status = subprocess.run(command, cwd=ROOT, env=os.environ | settings).returncode
    if status == 0:
        return {"architecture": architecture, "by": "setup.py"}
    folder = max(
        ROOT.glob("build/cmake-*"), key=lambda path: path.stat().st_mtime, default=ROOT / "build" / "cmake-alone"
    )
    wrong = [f"setup.py ended with exit status {status}", build_alone(folder, defines)]
    return {"architecture": architecture, "by": "cmake", "wrong": "; ".join([*filter(None, wrong), "see build.log"])}


def build_alone(folder: Path, defines: Sequence[str]) -> str:
    """Builds in a folder of CMake's and takes the modules that come of it; returns what is wrong."""
    wrong = configure(folder, defines)
    if wrong:
        return wrong
    status = subprocess.run([setup_script().find_tool("cmake"), "--build", str(folder), "--", "-k", "0"]).returncode
    modules = {path.name.partition(".")[0]: path for path in folder.glob("_native*.so")}
    (version,) = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    built = {"built": "_native" in modules, "reason": "it does not compile", "advice": "see build.log"}
    record = {"version": version, "commit": os.environ.get(COMMIT), "machine": platform.machine(), "native": built}
    record |= json.loads((folder / "build_record.json").read_text())
    put([*modules.values()], json.dumps(record))
    return (
        f"cmake ended with exit status {status}, with {', '.join(sorted(modules)) or 'nothing'} built" if status else ""
    )


def setup_script() -> ModuleType:
    """``setup.py`` as a module; importing it builds nothing."""
    spec = importlib.util.spec_from_file_location("inception_fast_setup", ROOT / "setup.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def configure(folder: Path, defines: Sequence[str]) -> str:
    """CMake's configuration of the tree; returns what is wrong."""
    script = setup_script()
    reason, advice = script.native_obstacle()
    if reason:
        return f"{reason}; {advice}"
    pybind11 = importlib.import_module("pybind11").get_cmake_dir()
    all_defines = [*defines, f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11}"]
    all_defines.append(f"-DCMAKE_MAKE_PROGRAM={script.find_tool('ninja')}")
    command = [script.find_tool("cmake"), "-S", str(ROOT), "-B", str(folder), "-G", "Ninja", *all_defines]
    status = subprocess.run(command).returncode
    return f"cmake ended with exit status {status}; see build.log" if status else ""


def take(folder: Path) -> dict[str, Any]:
    """Copies the compiled modules and their record into the package, where they are not there already."""
    found = [*folder.glob("_native*.so")]
    if not found:
        return {"wrong": f"nothing is built in {folder}"}
    if folder.resolve() != ROOT / "inception_fast":
        put(found, (folder / "_build_info.json").read_text())
    return {"taken": [path.name for path in found]}


def put(modules: Sequence[Path], record: str) -> None:
    """Puts modules and their record into the package, in the place of those that are there."""
    package = ROOT / "inception_fast"
    # Deleted first: writing into a module that a running process has mapped would crash that process.
    for stale in package.glob("_native*.so"):
        stale.unlink()
    for module in modules:
        shutil.copy2(module, package)
    (package / "_build_info.json").write_text(record)


def load(name: str) -> dict[str, Any]:
    """Imports a compiled module in a process of its own."""
    result = subprocess.run([sys.executable, "-c", PROBE.format(name)], cwd=ROOT, capture_output=True, text=True)
    lines = result.stderr.strip().splitlines()
    return {"version": result.stdout.strip(), "wrong": (lines or ["it fails"])[-1] if result.returncode else ""}


if __name__ == "__main__":
    main(run)
