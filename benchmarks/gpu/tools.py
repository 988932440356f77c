"""Where the toolkit's programs are: on PATH, in the toolkit's own folder, or in one of its applications' folders."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

TOOLS = ("nvcc", "cuobjdump", "nvdisasm", "ncu", "compute-sanitizer", "cmake", "ninja")
APPLICATIONS = Path("/opt/nvidia")


def find_tool(name: str) -> str | None:
    """The path of a program, None where it is not found."""
    homes = [os.environ[variable] for variable in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(variable)]
    folders = [f"{home}/bin" for home in [*homes, "/usr/local/cuda"]]
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(folders))
    if found or not APPLICATIONS.is_dir():
        return found
    newest = sorted((str(path) for path in APPLICATIONS.glob(f"*/*/{name}")), reverse=True)
    return newest[0] if newest else None
