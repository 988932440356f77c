"""The NVIDIA driver of this machine."""

from __future__ import annotations

import shutil
import subprocess


def nvidia_driver() -> str | None:
    """Version of the NVIDIA driver; ``None`` without one."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = result.stdout.split() if result.returncode == 0 else []
    return lines[0] if lines else None
