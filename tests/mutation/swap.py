"""Changed functions in the place of those that are loaded: what a module's import has made of them, tables of them
included, then runs the change, and nothing has to be imported again.
"""

from __future__ import annotations

import ast
import gc
import inspect
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType

Functions = dict[tuple[str, str, int], list[FunctionType]]
"""By file, qualified name and first line."""


class ImportedOnce(Exception):
    """The change is of code that runs while its module is imported."""


def loaded_functions(folder: Path) -> Functions:
    """Every function whose source is below a folder."""
    found: Functions = defaultdict(list)
    for value in gc.get_objects():
        if type(value) is FunctionType and value.__code__.co_filename.startswith(f"{folder}/"):
            found[_key(value.__code__)].append(value)
    return found


def swap(functions: Functions, path: Path, changed: ast.Module) -> None:
    """Gives the functions of a file the code of its changed tree, in this process.

    Raises:
        ImportedOnce: that would change nothing.
    """
    original = compile(path.read_text(), str(path), "exec", dont_inherit=True)
    pairs = list(_changes(original, compile(changed, str(path), "exec", dont_inherit=True)))
    swapped = [(f, after) for before, after in pairs for f in functions.get(_key(before), ())]
    if not swapped or any(len(f.__code__.co_freevars) != len(after.co_freevars) for f, after in swapped):
        raise ImportedOnce
    for function, after in swapped:
        function.__code__ = after


def _key(code: CodeType) -> tuple[str, str, int]:
    return code.co_filename, code.co_qualname, code.co_firstlineno


def _changes(before: CodeType, after: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """(before, after) of every function that differs.

    Raises:
        ImportedOnce: a module or the body of a class differs.
    """
    if before.co_flags & inspect.CO_OPTIMIZED:
        if before != after:
            yield before, after
    elif before.co_code != after.co_code or _plain(before) != _plain(after) or before.co_names != after.co_names:
        raise ImportedOnce
    nested = _nested(before), _nested(after)
    if len(nested[0]) == len(nested[1]):
        for pair in zip(*nested, strict=True):
            yield from _changes(*pair)


def _nested(code: CodeType) -> list[CodeType]:
    return [c for c in code.co_consts if isinstance(c, CodeType)]


def _plain(code: CodeType) -> list[str]:
    """Constants that are no code; as text, which tells 1 from True and 0.0 from -0.0."""
    return [repr(c) for c in code.co_consts if not isinstance(c, CodeType)]
