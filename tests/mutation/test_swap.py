"""Changed functions in the place of loaded ones, wherever an import has put those; a folder with a module of ours."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.mutation.swap import ImportedOnce, loaded_functions, swap

SOURCE = """
import functools

LIMIT = 3

def twice(x):
    return x + x

def outer(x):
    def inner():
        return x + 1
    return inner

class Thing:
    @functools.cache
    def method(self):
        return 1

TABLE = {"twice": twice, "less": lambda x: x - 1}
KEPT = outer(10)
"""


@pytest.fixture
def module(tmp_path: Path) -> ModuleType:
    path = tmp_path / "changed.py"
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("changed", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("before", "after", "value"),
    [
        ("x + x", "x * x", lambda m: m.TABLE["twice"](3) == 9),
        ("x - 1", "x - 2", lambda m: m.TABLE["less"](3) == 1),
        ("return 1", "return 2", lambda m: m.Thing().method() == 2),
        ("x + 1", "x + 2", lambda m: m.outer(1)() == 3 and m.KEPT() == 12),
    ],
)
def test_functions(module: ModuleType, before: str, after: str, value: Callable[[ModuleType], bool]) -> None:
    path = Path(str(module.__file__))
    assert not value(module)
    swap(loaded_functions(path.parent), path, ast.parse(SOURCE.replace(before, after)))
    assert value(module)


@pytest.mark.parametrize(("before", "after"), [("LIMIT = 3", "LIMIT = 4"), ("outer(10)", "outer(11)")])
def test_what_an_import_runs_is_refused(module: ModuleType, before: str, after: str) -> None:
    path = Path(str(module.__file__))
    with pytest.raises(ImportedOnce):
        swap(loaded_functions(path.parent), path, ast.parse(SOURCE.replace(before, after)))
