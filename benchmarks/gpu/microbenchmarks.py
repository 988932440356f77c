"""What one instruction, copy, hand-over or launch costs on an sm_90 GPU: ``python -m benchmarks.gpu.microbenchmarks
--output FILE.json``.

Compiles ``microbenchmarks.cu`` for sm_90a and runs it, which is meant to take ten seconds: products of ``mma.sync`` and
``wgmma``, ``ldmatrix`` beside ``cp.async``, latency and bandwidth of each memory, hops between blocks, clusters,
launches in a CUDA graph, the copy engine; and checks of what the descriptors of ``wgmma`` and of tensor maps mean. The
results are all rows (median, lowest and highest of the repeats) and the constants of the machine that follow from them.
A benchmark that fails is a row with its error; one that loses the device or hangs costs its process, and the others run
in a new one. No GPU has run it yet.

The exit status is 0 where everything ran and every check held, 1 where something did not, 77 where nothing could run
(no compiler, no such device): the reason is the last line on stderr, and in the file.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.machine import constants_of
from benchmarks.gpu.tools import find_tool
from inception_fast.tuning.machine_constants import read_machine

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_suffix(".cu")
INCLUDES = (SOURCE.parent, ROOT / "csrc", ROOT / "csrc" / "cuda")
PARTS = (SOURCE.parent / "micro", ROOT / "csrc" / "cuda" / "ptx")
"""Folders of what the program includes."""
BINARY = ROOT / "build" / "microbenchmarks"
ARCHITECTURE = "-gencode=arch=compute_90a,code=sm_90a"
HELD, FAILED, SKIPPED = 0, 1, 77
NO_DEVICE = 4
"""The program's exit status where there is none that it is for."""
LONGEST = 8.0
"""Seconds between two lines of the program, after which it is stopped."""


class UnavailableError(Exception):
    """Nothing can run here; the message is the reason."""


@dataclass
class Results:
    """What the program has said so far.

    Attributes:
        device: its name and properties; empty until a process has found it.
        rows: ``benchmark``, ``case``, ``unit``, ``median``, ``low``, ``high``, ``repeats``.
        errors: ``benchmark``, ``error``.
        seconds: that each benchmark took.
    """

    device: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, str]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def wrong(self) -> list[dict[str, Any]]:
        """The checks that did not hold."""
        return [row for row in self.rows if row["unit"] == "wrong elements" and row["high"] > 0]

    def payload(self) -> dict[str, Any]:
        """For the file."""
        found = {name: {"value": value, "source": how} for name, (value, how) in constants_of(self).items()}
        status = FAILED if self.errors or self.wrong else HELD
        return {
            "status": status,
            "device": self.device,
            "constants": found,
            "errors": self.errors,
            "seconds": self.seconds,
            "rows": self.rows,
        }


def find_nvcc() -> str:
    """The compiler that ``CUDACXX`` names, or ``nvcc``.

    Raises:
        UnavailableError: there is none.
    """
    name = os.environ.get("CUDACXX", "nvcc")
    found = find_tool(name)
    if found is None:
        raise UnavailableError(f"no {name} on PATH or in CUDA's folders")
    return found


def compile_command(nvcc: str, *options: str) -> list[str]:
    """nvcc's command line up to what is to be made."""
    return [nvcc, "-std=c++20", "-O3", ARCHITECTURE, *(f"-I{folder}" for folder in INCLUDES), *options, str(SOURCE)]


def compile_program(binary: Path) -> None:
    """Compiles the program, unless it is there and newer than its sources.

    Raises:
        UnavailableError: there is no compiler, or it fails; with its first error.
    """
    sources = [SOURCE, *(path for folder in PARTS for path in folder.iterdir())]
    if binary.exists() and binary.stat().st_mtime >= max(path.stat().st_mtime for path in sources):
        return
    binary.parent.mkdir(parents=True, exist_ok=True)
    command = compile_command(find_nvcc(), "-o", str(binary))
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if "error" in line or "fatal" in line]
        raise UnavailableError(f"nvcc failed: {lines[0] if lines else f'exit status {done.returncode}'}")


def names_of(binary: Path) -> list[str]:
    """The program's benchmarks, in its order."""
    return subprocess.run([binary, "--list"], check=True, capture_output=True, text=True).stdout.split()


def run_program(
    binary: Path,
    names: Sequence[str],
    *,
    longest: float = LONGEST,
    changed: Callable[[Results], None] = lambda _: None,
) -> Results:
    """Runs benchmarks, in a new process after each that ends one.

    Args:
        longest: seconds without a line, after which a process is stopped.
        changed: called whenever a benchmark has ended.

    Raises:
        UnavailableError: there is no device that the program is for.
    """
    results, left = Results(), list(names)
    while left:
        process = _Process(binary, left, longest)
        current: str | None = None
        for line in process.lines():
            if "begin" in line:
                current = left.pop(0)
            elif "device" in line:
                results.device = line["device"]
            elif "error" in line:
                results.errors.append(line)
            elif "end" in line:
                results.seconds[line["end"]] = line["seconds"]
            else:
                results.rows.append(line)
            if "end" in line or "error" in line:
                current = None
                changed(results)
        reason = process.reason()
        if process.status == NO_DEVICE and not results.device:
            raise UnavailableError(reason)
        if current is not None:
            results.errors.append({"benchmark": current, "error": reason})
        elif left and process.begun == 0:
            # A new process could not even begin: there is nothing to be hoped for from the next.
            results.errors += [{"benchmark": name, "error": reason} for name in left]
            left = []
        changed(results)
    return results


class _Process:
    """The program in a process of its own."""

    def __init__(self, binary: Path, names: Sequence[str], longest: float) -> None:
        self.begun, self._longest, self._said = 0, longest, ""
        self._process = subprocess.Popen(
            [binary, *names], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        self._queue: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def status(self) -> int:
        return self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                self._queue.put(line)
        self._queue.put(None)

    def lines(self) -> Iterator[dict[str, Any]]:
        """What it prints, until it ends or has said nothing for too long."""
        try:
            while (text := self._queue.get(timeout=self._longest)) is not None:
                try:
                    line = json.loads(text)
                except json.JSONDecodeError:
                    # What it says on stderr, or half a line of a process that died.
                    self._said = text.strip() or self._said
                    continue
                self.begun += "begin" in line
                yield line
        except queue.Empty:
            self._said = f"stopped after {self._longest:g} s without a result"
        finally:
            self._process.kill()
            self._process.wait()

    def reason(self) -> str:
        """Why it ended."""
        return self._said or f"exit status {self.status}"


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="JSON file of all results, written anew after each benchmark")
    parser.add_argument("--machine", type=Path, help="file of the machine's constants, as the time model reads them")
    parser.add_argument(
        "--binary", type=Path, default=BINARY, help="the program; compiled there unless it is newer than its sources"
    )
    parser.add_argument("--compile-only", action="store_true", help="stop when the program is there")
    parser.add_argument("--only", action="append", metavar="NAME", help="run this benchmark; repeatable")
    args = parser.parse_args(words)
    binary = args.binary.resolve()
    try:
        compile_program(binary)
        if args.compile_only:
            return HELD
        names = names_of(binary)
        unknown = set(args.only or ()) - set(names)
        if unknown:
            parser.error(f"--only: got {', '.join(sorted(unknown))}, expected any of {', '.join(names)}")
        chosen = args.only or names
        results = run_program(binary, chosen, changed=lambda found: _write(args.output, found.payload()))
    except UnavailableError as reason:
        _write(args.output, {"status": SKIPPED, "reason": str(reason)})
        print(f"skipped: {reason}", file=sys.stderr)
        return SKIPPED
    payload = results.payload()
    _write(args.output, payload)
    if args.machine is not None:
        machine = read_machine().measured(results.device.get("name", "unknown"), constants_of(results))
        args.machine.write_text(machine.to_json())
    for error in results.errors:
        print(f"{error['benchmark']}: {error['error']}", file=sys.stderr)
    for row in results.wrong:
        print(f"{row['benchmark']} {row['case']}: {row['high']:g} wrong elements", file=sys.stderr)
    print(render(results.rows))
    return payload["status"]


def render(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line a row."""
    return "\n".join(
        f"{row['benchmark']:<16} {' '.join(f'{k}={v}' for k, v in row['case'].items()):<52} "
        f"{row['median']:>10.5g} [{row['low']:.5g}, {row['high']:.5g}] {row['unit']}"
        for row in rows
    )


def _write(path: Path | None, payload: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    if path is not None:
        part = path.with_name(f"{path.name}.part")
        part.write_text(json.dumps(payload, indent=1) + "\n")
        part.replace(path)


if __name__ == "__main__":
    sys.exit(main())
