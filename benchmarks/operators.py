"""Puts the operators that engines compute into ``docs/models.md``: ``python -m benchmarks.operators``.

They are those that the rules of :mod:`inception_fast.graph.aten` are entered for, under the first line of the module
that each is in.
"""

from __future__ import annotations

import inspect
import sys

from benchmarks.tables import ROOT, filled
from inception_fast.graph.aten import RULES
from inception_fast.graph.translate import ALIASES

DOCUMENT = ROOT / "docs" / "models.md"


def operators_table() -> str:
    """Markdown: a row for each module of rules."""
    groups: dict[str, set[str]] = {}
    for name, rule in RULES.items():
        groups.setdefault(_heading(rule.__module__), set()).add(_plain(name))
    for alias, name in ALIASES.items():
        groups[_heading(RULES[f"aten.{name}"].__module__)].add(_plain(f"aten.{alias}"))
    rows = [
        f"| {what} | {', '.join(f'`{name}`' for name in sorted(names))} |" for what, names in sorted(groups.items())
    ]
    return "\n".join(["| what | operators |", "| --- | --- |", *rows])


def _heading(module: str) -> str:
    text = inspect.getdoc(sys.modules[module]) or ""
    return text.partition("\n\n")[0].replace("\n", " ").partition(", as ")[0].rstrip(".")


def _plain(name: str) -> str:
    """``conv2d`` for ``aten.conv2d.default``; PyTorch's inner names without their underscore."""
    return name.split(".")[1].strip("_")


def main() -> None:
    DOCUMENT.write_text(filled(DOCUMENT.read_text(), operators_table(), "operators"))


if __name__ == "__main__":
    main()
