"""Which sources a figure belongs to, without a version control system."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = ("CMakeLists.txt", "pyproject.toml", "setup.py")
FOLDERS = ("benchmarks", "cmake", "csrc", "inception_fast", "tests")
RECORDS = Path("benchmarks") / "results"
BUILT = {"_build_info.json", "build.log"}


def source_digest(root: Path = ROOT) -> str:
    """SHA-256, in hexadecimal, of the names and contents of everything that a build or a measurement is made of.

    Not of what a build leaves in the tree, nor of records of measurements.
    """
    digest = hashlib.sha256()
    for path in sorted(_sources(root)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _sources(root: Path) -> Iterator[Path]:
    yield from (root / name for name in FILES if (root / name).is_file())
    for folder in FOLDERS:
        for path in (root / folder).rglob("*"):
            inside = path.relative_to(root)
            built = path.suffix in (".so", ".pyc") or path.name in BUILT or any(p.startswith(".") for p in inside.parts)
            if path.is_file() and not built and not inside.is_relative_to(RECORDS):
                yield path
