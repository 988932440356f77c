"""Rules that hold for every file under version control."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

# Split, so that this file does not break its own rule.
FORBIDDEN = [
    "pypi" + r"\.org",
    "python" + r"hosted\.org",
    "download\\." + r"pytorch\.org",
    "ana" + r"conda\.org",
    "registry\\." + "npm",
    "index" + "-url",
    "/wo" + "rk/",
    "/ro" + "ot/",
]
ROOMS = {
    "plan": {"plan"},
    "cpu": {"plan", "cpu"},
    "cuda": {"plan", "cuda"},
    "emulator": {"plan", "cuda", "emulator"},
    "library": {"plan", "cpu", "cuda", "library"},
    "bindings": {"plan", "cpu", "cuda", "emulator", "bindings"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^">]+)[>"]', re.MULTILINE)


def test_no_registry_address_and_no_path_of_one_machine(root: Path, tracked: list[Path]) -> None:
    pattern = re.compile("|".join(FORBIDDEN))
    found = []
    for path in tracked:
        text = (root / path).read_bytes().decode(errors="replace")
        found += [f"{path}: {match[0]}" for match in pattern.finditer(text)]
    assert not found


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_of_csrc_includes_only_what_it_may(root: Path, room: str) -> None:
    sources = [path for path in (root / "csrc" / room).rglob("*") if path.is_file() and path.suffix != ".md"]
    for path in sources:
        for name in INCLUDE.findall(path.read_text()):
            first = name.split("/")[0]
            assert first not in ("torch", "ATen", "c10"), f"{path} includes {name}"
            assert room == "bindings" or first not in ("pybind11", "Python.h"), f"{path} includes {name}"
            assert first not in ROOMS or first in ROOMS[room], f"{path} includes {name}"
