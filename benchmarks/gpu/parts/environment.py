"""The machine: GPU, driver, compilers, headers, tools, packages."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.gpu.tools import TOOLS, find_tool
from benchmarks.gpu.worker import Skip, Visit, main

HEADERS = ("cuda.h", "cuda_runtime.h", "cooperative_groups.h", "cuda/ptx")
VERSIONS = (("nvcc", "--version"), ("c++", "--version"), ("cmake", "--version"), ("ninja", "--version"))
SLOWEST = 20.0
"""Seconds; a tool that takes longer to say its version says nothing."""


def run(visit: Visit) -> None:
    visit.case("tools", tools, 60)
    visit.case("packages", packages, 30)
    visit.case("nvidia-smi", nvidia_smi, 30)
    visit.case("torch", lambda: torch_sees(visit), 60)


def tools() -> dict[str, Any]:
    """Where programs and headers are, and what versions they name."""
    found = {name: find_tool(name) for name in TOOLS}
    nvcc = found["nvcc"]
    include = Path(nvcc).resolve().parents[1] / "include" if nvcc else None
    python = Path(sysconfig.get_path("include"), "Python.h")
    headers = {"Python.h": python.is_file(), **{h: bool(include and (include / h).exists()) for h in HEADERS}}
    texts = {name: output([found.get(name) or name, flag]) for name, flag in VERSIONS}
    versions = {name: text.strip().splitlines() for name, text in texts.items() if text}
    return {"paths": found, "headers": headers, "versions": versions, "cores": os.cpu_count()}


def packages() -> dict[str, Any]:
    """Every Python package that is installed."""
    found = {d.metadata["Name"]: d.version for d in metadata.distributions() if d.metadata["Name"]}
    return {"python": sys.version, "packages": dict(sorted(found.items(), key=lambda item: item[0].lower()))}


def nvidia_smi() -> dict[str, Any]:
    text = output(["nvidia-smi", "-q"])
    if text is None:
        raise Skip("nvidia-smi is not on PATH, or finds no driver")
    return {"report": text}


def torch_sees(visit: Visit) -> dict[str, Any]:
    """The environment as every record of the bench has it, and the device's properties."""
    import torch

    from inception_fast.bench.environment import environment

    device = torch.device(visit.setting.device)
    if visit.setting.on_gpu and not torch.cuda.is_available():
        return {"wrong": "PyTorch sees no CUDA device", "environment": environment(torch.device("cpu"))}
    properties = torch.cuda.get_device_properties(device) if visit.setting.on_gpu else None
    names = ("multi_processor_count", "total_memory", "L2_cache_size", "shared_memory_per_multiprocessor")
    device_has = {name: getattr(properties, name, None) for name in names} if properties else {}
    return {"environment": environment(device), "properties": device_has, "threads": torch.get_num_threads()}


def output(command: list[str]) -> str | None:
    """What a command prints; None where it is not there, fails or takes too long."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=SLOWEST)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout if result.returncode == 0 else None


if __name__ == "__main__":
    main(run)
