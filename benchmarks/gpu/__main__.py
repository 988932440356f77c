"""``python -m benchmarks.gpu --output FOLDER``, from the root of the sources, a checkout or a copy without one.

Builds the package for the GPU that is here, checks it, measures it and takes it apart, each part in a process of its
own with a limit of its own, until the seconds are spent. Nothing is fetched: it takes what is installed, and what is
missing is named. Every result is a line of ``results-1.jsonl`` as soon as it is known; FOLDER never has more than eight
files, and they are whole however the visit ends. ``--command 2`` is for the minutes that are left: sanitizers, tuning,
and what did not hold. ``INCEPTION_FAST_COMMIT`` names the commit where there is no checkout.

``--dry-run`` goes the same way on a CPU with a network of two blocks, the emulator and Triton's interpreter in the
place of the GPU: it says that the way is free, and nothing of speed. The exit status is 0 where nothing failed.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.gpu import clocks
from benchmarks.gpu.journal import Journal, kept, read_lines
from benchmarks.gpu.packing import Packer
from benchmarks.gpu.part import FAILED, NO_TIME, STOPPED, Entry, Part
from benchmarks.gpu.runner import Runner
from benchmarks.gpu.setting import DRY, GPU, Setting
from benchmarks.gpu.source_digest import ROOT, source_digest
from benchmarks.gpu.summary import summary
from benchmarks.gpu.visit import BUDGET, parts_of
from benchmarks.gpu.worker import COMMIT, default_work, one_line, stamp

PREPARED = frozenset({"environment", "build", "networks", "triton_compile", "correctness", "timing"})
"""Parts of the first command whose work or figures the second takes as they are, where they held."""
ALONE = {"INCEPTION_FAST_COMPILE_PROCESSES": "0", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
"""What keeps a part to itself. Triton's kernels are compiled by a part; what is missing then is compiled where it is
met, not by as many processes as there are cores for each process that meets it. JAX else takes most of the memory.
"""
NODE = Path("/dev/nvidia0")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(argv: Sequence[str] | None = None, parts: Sequence[Part] | None = None) -> int:
    """The command.

    Args:
        argv: its arguments; by default those of the process.
        parts: in place of the visit's own.
    """
    args = parse(argv)
    setting = DRY if args.dry_run else GPU
    if setting.on_gpu and not gpu_seen():
        print(
            "this needs a GPU; `inception-fast doctor` says what is missing, and --dry-run needs none", file=sys.stderr
        )
        return 1
    end = time.monotonic() + (args.seconds or BUDGET[args.command])
    digest = source_digest()
    work, output = args.work or default_work(digest), args.output or default_output(setting)
    for folder in (work, output):
        folder.mkdir(parents=True, exist_ok=True)
    first = read_lines(work / "journal-1.jsonl")
    journal, done = open_journal(work, output, args, setting, digest, first)
    chosen = list(parts_of(args.command, unfinished(first, digest)) if parts is None else parts)
    chosen = [with_modules(part, args.modules) for part in chosen if not args.part or part.name in args.part]
    command = shlex.join(["python", "-m", "benchmarks.gpu", *(sys.argv[1:] if argv is None else argv)])
    header = {"command": command, "device": setting.device, **stamp(setting, digest)}
    packer = Packer(work, output, str(args.command), 0.0 if args.resume else time.time() - 1.0)

    def pack() -> None:
        try:
            packer.pack(journal.lines(), header)
        except Exception as error:
            # The lines are in the folder already, and the next part's end packs anew.
            journal.append("packing", reason=one_line(error))

    def noted(entry: Entry) -> None:
        print(
            f"{entry.part}: {entry.outcome} after {entry.seconds:.0f} s {entry.reason}".rstrip(),
            file=sys.stderr,
            flush=True,
        )
        pack()

    journal.append("visit", command=command, parts=[part.name for part in chosen], budget=end - time.monotonic())
    before, heard = hear_signals()
    try:
        runner = Runner(
            work,
            journal,
            setting.name,
            variables(setting, work),
            end - time.monotonic(),
            noted,
            lambda: bool(heard),
            ROOT,
        )
        runner.run(chosen, done)
    finally:
        pack()
        for number, handler in before.items():
            signal.signal(number, handler)
    print(summary(journal.lines()))
    print(f"\nresults are in {output}", flush=True)
    outcomes = {line["outcome"] for line in journal.lines() if line["kind"] == "part"}
    return 1 if outcomes & {FAILED, STOPPED} else 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, help="folder of what is brought back; default: benchmarks/results/GPU")
    parser.add_argument("--work", type=Path, help="folder of what parts leave for each other; default: in build/visit")
    parser.add_argument("--command", type=int, choices=sorted(BUDGET), default=1, help="default: 1")
    parser.add_argument("--seconds", type=float, help="budget; default: 540 for command 1, 200 for command 2")
    parser.add_argument("--part", nargs="+", metavar="NAME", help="no others")
    parser.add_argument("--resume", action="store_true", help="leave out what held, with the same sources")
    parser.add_argument("--dry-run", action="store_true", help="the same way on a CPU, in little")
    parser.add_argument("--modules", type=Path, help="folder of compiled modules, in place of compiling")
    return parser.parse_args(argv)


def gpu_seen() -> bool:
    """Whether there is a GPU, or at least what belongs to one."""
    return clocks.machine()["gpu"] is not None or shutil.which("nvidia-smi") is not None or NODE.exists()


def default_output(setting: Setting) -> Path:
    """Beside the records of other machines."""
    name = "dry-run" if not setting.on_gpu else (clocks.machine()["gpu"] or "gpu").lower().replace(" ", "-")
    return ROOT / "benchmarks" / "results" / name


def open_journal(
    work: Path, output: Path, args: argparse.Namespace, setting: Setting, digest: str, first: Sequence[dict]
) -> tuple[Journal, frozenset[str]]:
    """The journal, with what need not be done again, and the names of those parts."""
    files = (work / f"journal-{args.command}.jsonl", output / f"results-{args.command}.jsonl")
    old = kept(read_lines(files[0]), digest) if args.resume else []
    if args.command == 2:
        again = PREPARED | set(unfinished(first, digest))
        old += [line for line in kept(first, digest) if line["part"] in again and line not in old]
    for file in files:
        file.unlink(missing_ok=True)
    if not old and args.command == 1:
        for folder in ("logs", "artifacts"):
            shutil.rmtree(work / folder, ignore_errors=True)
    Journal(files).rewrite(old)
    return Journal(files, stamp(setting, digest)), frozenset(line["part"] for line in old if line["kind"] == "part")


def unfinished(first: Sequence[dict], digest: str) -> tuple[str, ...]:
    """Parts of the first command that did not hold, of the same sources."""
    last = {line["part"]: line["outcome"] for line in first if line["kind"] == "part" and line["digest"] == digest}
    return tuple(name for name, outcome in last.items() if outcome in (FAILED, STOPPED, NO_TIME))


def with_modules(part: Part, modules: Path | None) -> Part:
    """The part, told where compiled modules are."""
    if part.name != "build" or modules is None:
        return part
    return replace(part, arguments=("--modules", str(modules)))


def variables(setting: Setting, work: Path) -> dict[str, str]:
    """Of the environment of every part. Caches are the visit's own, so that nothing of another one is taken for new."""
    caches = {
        "TRITON_CACHE_DIR": work / "triton",
        "TORCHINDUCTOR_CACHE_DIR": work / "inductor",
        "INCEPTION_FAST_CACHE": work / "cache",
    }
    named = {COMMIT: os.environ[COMMIT]} if COMMIT in os.environ else {}
    paths = {name: str(path) for name, path in caches.items()}
    return {"PYTHONUNBUFFERED": "1", **ALONE, **paths, **setting.environment, **named}


def hear_signals() -> tuple[dict[signal.Signals, Any], list[int]]:
    """Has signals that ask for an end noted, so that nothing is left half done.

    Returns:
        What handled them before, and a list that those which come are put into.
    """
    heard: list[int] = []
    return {number: signal.signal(number, lambda n, _: heard.append(n)) for number in SIGNALS}, heard


if __name__ == "__main__":
    sys.exit(main())
