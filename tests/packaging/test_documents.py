"""What documents name must be there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOTS = ("inception_fast/", "csrc/", "tests/", "docs/", "cmake/", "benchmarks/", "examples/")
PATH = re.compile(r"`([\w./-]+)`")
LINK = re.compile(r"\]\(([\w./-]+)(?:#[\w-]*)?\)")
DOCUMENTS = ("docs/extending.md", "docs/architecture.md", "docs/cpu-backend.md", "csrc/README.md", "csrc/cpu/README.md")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_exists(root: Path, document: str) -> None:
    named = [name for name in PATH.findall((root / document).read_text()) if name.startswith(ROOTS)]
    assert named
    assert not [name for name in named if not (root / name).exists()]


def test_every_link_leads_somewhere(root: Path) -> None:
    documents = [root / "README.md", *sorted((root / "docs").glob("*.md")), *sorted(root.glob("*/**/README.md"))]
    links = [
        (document, link)
        for document in documents
        if ".venv" not in document.parts and "build" not in document.parts
        for link in LINK.findall(document.read_text())
    ]
    assert len(links) > 20
    assert not [(document.name, link) for document, link in links if not (document.parent / link).exists()]


def test_every_recipe_names_files(root: Path) -> None:
    recipes = (root / "docs/extending.md").read_text().split("\n## ")[1:]
    wanted = (
        *("An operation with a step of its own", "A pass", "A backend", "A CUDA tile shape", "A CPU micro-kernel"),
        *("A model family", "A field of the engine format", "Why is this network slow?"),
    )
    titles = [recipe.partition("\n")[0] for recipe in recipes]
    assert titles == list(wanted)


def test_what_a_recipe_says_of_code_is_there(root: Path) -> None:
    """Names in recipes that are no paths, where a file is given with them."""
    text = (root / "docs/extending.md").read_text()
    said = re.findall(r"`(\w+)` (?:in|of) `([\w./-]+\.\w+)`", text)
    assert len(said) > 3
    for name, path in said:
        assert re.search(rf"\b{name}\b", (root / path).read_text()), f"{path} has no {name}"
