"""What goes into the wheel and the source distribution."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

# The backend overwrites sys.argv, hence one folder read before both calls.
BUILD = """
import sys
from setuptools import build_meta
folder = sys.argv[1]
build_meta.build_wheel(folder)
build_meta.build_sdist(folder)
"""


@pytest.fixture
def distributions(checkout: Path, tmp_path: Path) -> Path:
    """A folder with the wheel and the source distribution of the tracked files, built without the C++ part."""
    folder = tmp_path / "dist"
    environment = os.environ | {"INCEPTION_FAST_NATIVE": "0"}
    subprocess.run(
        [sys.executable, "-c", BUILD, folder], cwd=checkout, env=environment, check=True, capture_output=True
    )
    return folder


def test_distributions_hold_what_they_should(distributions: Path, tracked: list[Path]) -> None:
    (wheel,), (sdist,) = distributions.glob("*.whl"), distributions.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
        record = json.loads(archive.read("inception_fast/_build_info.json"))
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
        metadata = archive.read(f"{info}/METADATA").decode()
    package = {path.as_posix() for path in tracked if path.parts[0] == "inception_fast"}
    assert {name for name in names if not name.startswith(info)} == package | {"inception_fast/_build_info.json"}
    assert f"{info}/licenses/LICENSE" in names
    assert record["native"]["reason"] == "switched off with INCEPTION_FAST_NATIVE=0"
    assert "inception-fast = inception_fast.cli.main:main" in entry_points
    assert "inception_fast = inception_fast.integrations.dynamo:inception_fast_backend" in entry_points
    assert "Requires-Dist: torch>=2.11\n" in metadata and "Requires-Python: >=3.10\n" in metadata

    with tarfile.open(sdist) as archive:
        sources = {Path(*Path(name).parts[1:]) for name in archive.getnames()}
    needed = {path for path in tracked if path.parts[0] in ("inception_fast", "csrc", "cmake")}
    assert needed | {Path("CMakeLists.txt"), Path("setup.py"), Path("LICENSE")} <= sources
    assert Path("inception_fast/_build_info.json") not in sources
