"""The lines that a visit leaves: each is a JSON object, written as soon as it is known.

Kinds of lines: ``visit`` (what runs), ``begin`` and ``case`` (a case of a part, and what became of it, with its
figures), ``test`` (one that failed), ``counts`` (of tests so far), ``part`` (what became of a part), ``packing`` (why
nothing could be packed). Each has the sources and the machine.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.part import HELD

Line = dict[str, Any]


class Journal:
    """Appends to one or more files alike, which several processes may do at once.

    Args:
        stamp: goes into every line.
    """

    def __init__(self, files: Sequence[Path], stamp: Mapping[str, Any] | None = None) -> None:
        self.files, self._stamp = tuple(files), dict(stamp or {})

    def append(self, kind: str, **fields: Any) -> None:
        self.rewrite([{"kind": kind, **fields, **self._stamp, "at": round(time.time(), 2)}])

    def rewrite(self, lines: Iterable[Line]) -> None:
        """Appends lines as they are."""
        # One write of whole lines: they never mix, and a process that is killed leaves no half of one.
        data = "".join(json.dumps(finite(line)) + "\n" for line in lines).encode()
        for file in self.files:
            descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(descriptor, data)
            finally:
                os.close(descriptor)

    def lines(self) -> list[Line]:
        """All lines of the first file."""
        return read_lines(self.files[0])


def read_lines(file: Path) -> list[Line]:
    """The lines of a file; none where there is no file. A line that a full disk cut off is left out."""
    if not file.exists():
        return []
    found = []
    for text in file.read_text(errors="replace").splitlines():
        try:
            found.append(json.loads(text))
        except ValueError:
            continue
    return found


def cases_of(lines: Iterable[Line], part: str) -> dict[str, Line]:
    """The last line of each case of a part that has ended."""
    return {line["case"]: line for line in lines if line["kind"] == "case" and line["part"] == part}


def open_case(lines: Iterable[Line], part: str) -> Line | None:
    """The beginning of the case of a part that was begun last, if it has not ended."""
    begun: Line | None = None
    for line in lines:
        if line.get("part") == part and line["kind"] in ("begin", "case"):
            begun = line if line["kind"] == "begin" else None
    return begun


def kept(lines: Sequence[Line], digest: str) -> list[Line]:
    """What a later visit to the same sources need not repeat: cases and parts that held."""
    return [
        line
        for line in lines
        if line["kind"] in ("case", "part") and line["digest"] == digest and line["outcome"] == HELD
    ]


def finite(value: Any) -> Any:
    """``value`` with None for what JSON has no number for."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and value - value != 0 else value
