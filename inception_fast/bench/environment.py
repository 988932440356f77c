"""Where and with what a measurement was made, so that it can be repeated."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import torch

from inception_fast._build_info import build_info, package_version
from inception_fast.backends.cuda_graph import with_index
from inception_fast.cli import machine

PACKAGES = (
    "torch",
    "numpy",
    "triton",
    "onnx",
    "onnxruntime",
    "openvino",
    "jax",
    "jaxlib",
    "nvidia-cudnn-frontend",
    "torchvision",
    "timm",
)
_GPU_FIELDS = ("name", "driver_version", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.limit", "temperature.gpu")


def environment(device: torch.device) -> dict[str, object]:
    """Versions, processor, clocks and load, as JSON takes them; None where the system does not say."""
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": commit(),
        "package": package_version(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "system": platform.platform(),
        "cpu": {
            "model": machine.cpu_model(),
            "instruction_sets": machine.instruction_sets(),
            "usable_cores": machine.usable_cores(),
            "quota": machine.cpu_quota(),
            "mhz": _mhz(),
            "governor": _read(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
            "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        },
        "gpu": gpu(device) if device.type == "cuda" else None,
        "torch_config": torch_config(),
    }


def torch_config() -> list[str]:
    """How PyTorch was built, without its compiler's flags: they hold paths of the machine that built it."""
    return [line for line in torch.__config__.show().strip().splitlines() if "Build settings" not in line]


def commit() -> str | None:
    """The commit that runs, with ``+changes`` where the checkout differs from it.

    Outside of git it is what ``INCEPTION_FAST_COMMIT`` says, for those who carry a tree to another machine, else the
    build's own.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return os.environ.get("INCEPTION_FAST_COMMIT") or build_info().commit
    head = _output(["git", "-C", str(root), "rev-parse", "HEAD"])
    changes = _output(["git", "-C", str(root), "status", "--porcelain", "--untracked-files=no"])
    return f"{head}+changes" if head and changes else head


def gpu(device: torch.device) -> dict[str, object]:
    """Name, driver, clocks and power limit of a CUDA device."""
    properties = torch.cuda.get_device_properties(device)
    found: dict[str, object] = {
        "name": properties.name,
        "capability": f"sm_{properties.major}{properties.minor}",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }
    query = [
        "nvidia-smi",
        f"--id={with_index(device).index}",
        f"--query-gpu={','.join(_GPU_FIELDS)}",
        "--format=csv,noheader",
    ]
    values = (_output(query) or "").split(", ")
    return found | (dict(zip(_GPU_FIELDS, values, strict=True)) if len(values) == len(_GPU_FIELDS) else {})


def _mhz() -> list[float] | None:
    cpuinfo = _read(Path("/proc/cpuinfo"))
    if cpuinfo is None:
        return None
    return [float(line.partition(":")[2]) for line in cpuinfo.splitlines() if line.startswith("cpu MHz")]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _output(command: list[str]) -> str | None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None
