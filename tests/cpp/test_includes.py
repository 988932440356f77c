"""What files of ``csrc/cpu`` include, against what their folders may (``csrc/cpu/README.md``)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CSRC = Path(__file__).parents[2] / "csrc"
INCLUDE = re.compile(r'#include "([^"]+)"')
CPU = ("base", "kernels", "ops", "conv", "runtime")
"""Each may include itself and those before it."""


def includes(folder: Path) -> list[tuple[Path, str]]:
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in (".h", ".hpp", ".cpp", ".cu", ".cuh")]
    assert files
    return [(path, included) for path in files for included in INCLUDE.findall(path.read_text())]


@pytest.mark.parametrize("folder", CPU)
def test_folders_of_the_cpu(folder: str) -> None:
    allowed = CPU[: CPU.index(folder) + 1]
    found = [(path.name, i) for path, i in includes(CSRC / "cpu" / folder) if i.startswith("cpu/")]
    assert not [(name, i) for name, i in found if i.split("/")[1] not in allowed]


def test_every_file_of_the_cpu_is_in_a_folder() -> None:
    assert {path.name for path in (CSRC / "cpu").iterdir()} == {*CPU, "README.md"}


def test_only_the_folder_of_an_instruction_set_includes_its_vectors() -> None:
    kernels = CSRC / "cpu" / "kernels"
    sets = [path.parent.name for path in kernels.glob("*/*.cpp")]
    assert {"portable", "avx2", "avx512", "avx512_bf16", "avx512_vnni"} == set(sets)
    for path, included in includes(CSRC):
        of_set = re.match(r"cpu/kernels/(\w+)/", included)
        # What is compiled for every processor has the portable vectors.
        if of_set and of_set[1] in sets and of_set[1] != "portable":
            assert path.parent.parent == kernels, path
