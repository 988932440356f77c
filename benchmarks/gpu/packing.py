"""What a visit brings back: few files, none of them large, in one folder."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.journal import Line, finite
from benchmarks.gpu.records import bench_record

MOST_FILES, LARGEST = 8, 16 << 20
"""Files in the folder, and bytes of each."""
LOG_END = 256 << 10
"""Bytes kept of the beginning and of the end of a log."""
COMPRESSED = (".gz", ".npz", ".ncu-rep")
"""Suffixes of files that compressing again makes no smaller."""
COPIES = ("microbenchmarks", "tuning")
"""Artifacts that are files of their own, for the programs that read them."""
CONTESTS = {"timing": "drivers", "torch_compile": "torch_compile"}
"""Parts whose contests become a record of the bench, and the end of its name."""


class Packer:
    """Writes the folder anew, as often as it is asked to; between two times all files are whole.

    Args:
        work: has ``logs/`` and ``artifacts/``.
        output: the folder.
        suffix: of the files' names, the number of the command.
        since: files of ``work`` that are older are another command's; seconds since the epoch.
    """

    def __init__(self, work: Path, output: Path, suffix: str, since: float) -> None:
        self._work, self._output, self._suffix, self._since = work, output, suffix, since
        self._packed: dict[Path, tuple[tuple[int, int], bytes]] = {}

    def pack(self, lines: Sequence[Line], header: Mapping[str, Any]) -> None:
        """Everything but the lines themselves, which are there already.

        Args:
            header: of the journal: what ran, where, from which sources.
        """
        entries = [line for line in lines if line["kind"] == "part"]
        parts = {line["part"]: {key: line[key] for key in ("outcome", "seconds", "reason")} for line in entries}
        left_out = self._pack_files()
        journal = {**header, "parts": parts, "left_out": left_out}
        self._write(f"journal-{self._suffix}.json", _json(journal))
        for part, name in CONTESTS.items():
            # Contests that an earlier command held are in its own record.
            own = [line for line in lines if line["at"] >= self._since or line.get("part") != part]
            record = bench_record(own, part, header)
            if record is not None:
                self._write(f"bench-{self._suffix}-{name}.json", _json(record))
        for name in COPIES:
            file = self._work / "artifacts" / f"{name}.json"
            if self._is_new(file) and file.stat().st_size <= LARGEST:
                self._write(f"{name}-{self._suffix}.json", file.read_bytes())

    def _is_new(self, file: Path) -> bool:
        return file.is_file() and file.stat().st_mtime >= self._since

    def _pack_files(self) -> list[str]:
        """Logs and artifacts in one archive, the largest left out where it would be too large; returns their names."""
        found = [path for folder in ("logs", "artifacts") for path in sorted((self._work / folder).glob("*"))]
        members = {f"{path.parent.name}/{path.name}": self._member(path) for path in found if self._is_new(path)}
        left_out = []
        while sum(map(len, members.values())) + len(END) > LARGEST:
            name = max(members, key=lambda name: len(members[name]))
            del members[name]
            left_out.append(f"{name}: {(self._work / name).stat().st_size} bytes")
        self._write(f"files-{self._suffix}.tar.gz", b"".join([*members.values(), END]))
        return left_out

    def _member(self, path: Path) -> bytes:
        """As :func:`member`; what has not changed since it was packed last is not compressed again."""
        state = path.stat().st_mtime_ns, path.stat().st_size
        if self._packed.get(path, (None, b""))[0] != state:
            self._packed[path] = state, member(f"{path.parent.name}/{path.name}", _content(path))
        return self._packed[path][1]

    def _write(self, name: str, data: bytes) -> None:
        # Not in the folder itself: what is in it must be whole whenever somebody looks.
        temporary = self._work / f"{name}.new"
        temporary.write_bytes(data)
        target = self._output / name
        try:
            os.replace(temporary, target)
        except OSError:
            shutil.copyfile(temporary, target)
            temporary.unlink()


def member(name: str, content: bytes) -> bytes:
    """A file of a compressed tar archive, whose members one after the other, with :data:`END` behind them, are that
    archive: gzip's streams may follow each other. What is compressed already is stored as it is.
    """
    info = tarfile.TarInfo(name)
    info.size = len(content)
    padding = bytes(-len(content) % tarfile.BLOCKSIZE)
    level = 0 if Path(name).suffix in COMPRESSED else 6
    return gzip.compress(info.tobuf() + content + padding, level, mtime=0)


END = gzip.compress(bytes(2 * tarfile.BLOCKSIZE), mtime=0)
"""Of an archive."""


def _content(path: Path) -> bytes:
    """A file; of a long log its two ends."""
    data = path.read_bytes()
    if path.suffix != ".log" or len(data) <= 2 * LOG_END:
        return data
    gap = f"\n[{len(data) - 2 * LOG_END} bytes left out]\n".encode()
    return data[:LOG_END] + gap + data[-LOG_END:]


def _json(value: Any) -> bytes:
    return (json.dumps(finite(value), indent=1) + "\n").encode()
