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
    """``NAME=SECONDS=WORD,...`` as a part; a NAME that ends in ``+`` runs alongside the one before."""
    name, seconds, words = text.split("=", 2)
    chosen = tuple(words.split(","))
    return Part(name.rstrip("+"), "", float(seconds), name.endswith("+"), module=MODULE, arguments=chosen)


def run(words: Sequence[str]) -> int:
    cut = words.index("--")
    parts = [planted(word) for word in words[:cut] if word != "--whole"]
    return main(words[cut + 1 :], [*parts, *(FIRST if "--whole" in words[:cut] else ())])


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
