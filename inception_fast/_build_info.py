"""What the build recorded about itself: which parts were compiled, and why the others were not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

RECORD = Path(__file__).with_name("_build_info.json")
NEVER_BUILT = "the package runs from a source tree that was never installed"


@dataclass(frozen=True)
class Part:
    """One compiled part: whether it was built, and if not, the reason and what to do about it."""

    built: bool
    reason: str
    advice: str


@dataclass(frozen=True)
class BuildInfo:
    """The record of one build.

    Attributes:
        version: the package version that was built, ``None`` where nothing was.
        commit: the git commit, ``None`` for a build outside a checkout.
        machine: the processor architecture, such as ``x86_64``.
        compiler: name and version of the C++ compiler.
        instruction_sets: what CPU kernels were compiled for beyond the baseline, such as ``avx512``.
        nvcc: version of nvcc.
        cuda_architectures: as CMake's ``CUDA_ARCHITECTURES`` names them, such as ``90a-real``.
        native: the C++ part.
        cuda: the CUDA part.
    """

    version: str | None
    commit: str | None
    machine: str | None
    compiler: str | None
    instruction_sets: tuple[str, ...]
    nvcc: str | None
    cuda_architectures: tuple[str, ...]
    native: Part
    cuda: Part


def parse_build_info(record: dict[str, Any]) -> BuildInfo:
    """A :class:`BuildInfo` from the JSON that ``setup.py`` wrote; an empty record means that nothing was built."""
    native = Part(**record["native"]) if record else Part(False, NEVER_BUILT, "pip install .")
    cuda = record.get("cuda", {"built": False, "reason": "there is no C++ part", "advice": native.advice})
    return BuildInfo(
        version=record.get("version"),
        commit=record.get("commit"),
        machine=record.get("machine"),
        compiler=record.get("compiler"),
        instruction_sets=tuple(filter(None, record.get("instruction_sets", "").split(";"))),
        nvcc=cuda.get("nvcc") or None,
        cuda_architectures=tuple(filter(None, cuda.get("architectures", "").split(";"))) if cuda["built"] else (),
        native=native,
        cuda=Part(cuda["built"], cuda["reason"], cuda["advice"]),
    )


@cache
def build_info() -> BuildInfo:
    """The record of this installation's build."""
    return parse_build_info(json.loads(RECORD.read_text()) if RECORD.exists() else {})


def package_version() -> str:
    """The installed version, or that of the last build where the package runs from a bare source tree."""
    try:
        return metadata.version("inception-fast")
    except metadata.PackageNotFoundError:
        return build_info().version or "unknown"
