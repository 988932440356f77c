"""The mutations themselves: each changes one place, and words, types and messages are left alone."""

from __future__ import annotations

import pytest

from tests.mutation.__main__ import known_files
from tests.mutation.operators import mutations

CHANGES = {
    "a == b": ["a != b"],
    "a <= b": ["a < b"],
    "a and b": ["a or b", "b", "a"],
    "a or b or c": ["a and b and c", "b or c", "a or c", "a or b"],
    "not a": ["a"],
    "a - b": ["a + b"],
    "a // 2": ["a * 2", "a // 3"],
    "f(a, k=b)": ["f(a)"],
    "b if a else c": ["c if a else b"],
    "(a, b)": ["(b, a)"],
    "(a, a)": [],
    "[x for x in a if b]": ["[x for x in a]"],
    "True": ["False"],
    "2.5": ["3.5"],
    "-1": ["1", "-2"],
    "'words'": [],
}


@pytest.mark.parametrize("source", CHANGES)
def test_expressions(source: str) -> None:
    assert sorted(m.source for m in mutations(source)) == sorted(CHANGES[source])


def test_statements_keep_their_place() -> None:
    source = (
        "def f(a: int = 1) -> int:\n    '''Says 1 + 1.'''\n    if a:\n        return a\n    raise ValueError(1 + 1)\n"
    )
    found = list(mutations(source))
    assert [(m.line, m.name) for m in found] == [(1, "f: 1 -> 2"), (3, "f: if a: -> if not a:")]
    assert "if not a" in found[1].source and "raise ValueError(1 + 1)" in found[1].source


def test_names_are_of_one_place_each() -> None:
    source = "class C:\n    def f(self):\n        return g(0, 0)\n"
    assert [m.name for m in mutations(source)] == ["C.f: 0 -> 1", "C.f: 0 -> 1 #2"]
    assert [m.source.splitlines()[-1].strip() for m in mutations(source)] == ["return g(1, 0)", "return g(0, 1)"]


def test_files() -> None:
    files = known_files()
    assert "inception_fast/lowering/lower.py" in files and "inception_fast/graph/passes/fold_batchnorm.py" in files
    assert len(files) == len(set(files)) and "inception_fast/cli/main.py" not in files
