"""What the lower packages import, against what they may (``docs/architecture.md``)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "inception_fast"
MAY_IMPORT = {
    "errors": set[str](),
    "activation": {"errors"},
    "tensors": {"errors"},
    "gradients": {"errors"},
    "plan": {"_build_info", "activation", "errors", "tensors"},
    "graph": {"activation", "errors", "tensors"},
    "lowering": {"activation", "errors", "graph", "plan", "tensors"},
    "precision": {"errors", "plan"},
    "artefacts": {"errors", "graph"},
    "models": {"errors", "photos"},
    "template": {"errors", "graph", "lowering", "plan", "tensors"},
    "quantization": {"backends", "errors", "lowering", "plan"},
    "triton_kernels": {"plan", "tuning"},
}


def imports(file: Path) -> Iterator[str]:
    """The package's own modules that a file imports anywhere in it, but for annotations alone."""
    tree = ast.parse(file.read_text())
    ifs = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    annotations = {id(inner) for n in ifs for inner in ast.walk(n)}
    for node in ast.walk(tree):
        if id(node) in annotations:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_imports(root: Path, name: str) -> None:
    folder = root / PACKAGE / name
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    assert files
    for file in files:
        used = {i.split(".")[1] for i in imports(file) if i.startswith(f"{PACKAGE}.")}
        assert used <= MAY_IMPORT[name] | {name}, file


def test_the_order_has_no_circle() -> None:
    """Of those packages that are named above: each can be put behind all that it may import."""
    left, known = dict(MAY_IMPORT), set(MAY_IMPORT)
    while left:
        ready = [name for name, needs in left.items() if not (needs & known & set(left))]
        assert ready, f"a circle among {sorted(left)}"
        for name in ready:
            del left[name]
