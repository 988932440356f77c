"""``python -m benchmarks.gpu`` with parts of a test's own, or with such parts before the visit's:
``python -m tests.bench.planted_visit NAME=SECONDS=WORD,... [--whole] -- ARGUMENTS``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.gpu.__main__ import main
from benchmarks.gpu.part import Part
from benchmarks.gpu.visit import FIRST

MODULE = "tests.bench.planted_part"


def planted(text: str) -> Part:
    """``NAME=SECONDS=WORD,...``; ``NAME+`` runs alongside the one before, ``NAME+OTHER`` when OTHER has ended."""
    name, seconds, words = text.split("=", 2)
    name, beside, after = name.partition("+")
    chosen = tuple(words.split(","))
    return Part(name, "", float(seconds), bool(beside), after, module=MODULE, arguments=chosen)


def run(words: Sequence[str]) -> int:
    cut = words.index("--")
    parts = [planted(word) for word in words[:cut] if word != "--whole"]
    return main(words[cut + 1 :], [*parts, *(FIRST if "--whole" in words[:cut] else ())])


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
