"""Compiles the Triton kernels of a Plan before anything waits for them, in several processes: into Triton's cache.

    python -m inception_fast.tuning.precompile MODEL [--precision fp16] [--batch N ...] [--arch 90] [--processes N]

MODEL is a network's name or an engine file. On a machine with a GPU the kernels are those of that GPU; with ``--arch``,
which needs none, those of an H200 where the architecture is 90 or later, else of an A100.

The processes are programs of their own (:mod:`inception_fast.backends.triton_compile`) that run the executor's passes
with a GPU driver that launches nothing. So what they compile is what Triton's launcher will ask for, down to the
alignment of each pointer; and a process that uses CUDA can start them, since nothing is forked.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

import torch

import inception_fast
from inception_fast.errors import InceptionFastError
from inception_fast.plan.plan import Plan
from inception_fast.plan.serialize import plan_to_json
from inception_fast.tuning.choice import known_entries, limits_of, machine_of
from inception_fast.tuning.cost import A100, H200, Limits
from inception_fast.tuning.problem import ConvConfig
from inception_fast.tuning.table import Machine, Table, shipped_table, write_table

PROCESSES = "INCEPTION_FAST_COMPILE_PROCESSES"
"""How many there are by default; 0 or 1: an executor does not compile ahead."""

MOST_PROCESSES = 16
FEWEST_PROCESSORS = 4
"""With fewer, starting processes takes what they save."""


class CompileError(InceptionFastError, RuntimeError):
    """A process that compiles kernels failed; the message ends in what it said."""


@dataclass(frozen=True)
class Target:
    """A GPU to compile for, present or not.

    Attributes:
        arch: compute capability, 90 for 9.0.
        entries: configurations that are known to be good there; the rule chooses the others.
    """

    arch: int
    limits: Limits
    entries: Mapping[str, ConvConfig | None] = field(default_factory=dict)

    @staticmethod
    def of(device: torch.device) -> Target:
        """A CUDA device of this machine."""
        major, minor = torch.cuda.get_device_capability(device)
        return Target(10 * major + minor, limits_of(device), known_entries(machine_of(device)))

    @staticmethod
    def absent(arch: int) -> Target:
        """A GPU of that architecture, which need not be here."""
        if arch < 90:
            return Target(arch, A100)
        shipped = shipped_table("NVIDIA H200")
        return Target(arch, H200, shipped.entries if shipped else {})


def default_processes() -> int:
    """What $INCEPTION_FAST_COMPILE_PROCESSES says; else one for each processor that this process may use."""
    named = os.environ.get(PROCESSES, "")
    if named.isdecimal():
        return int(named)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(processors, MOST_PROCESSES) if processors >= FEWEST_PROCESSORS else 0


def precompile(
    plan: Plan,
    precision: str,
    batches: Sequence[int],
    target: Target,
    *,
    batch_invariant: bool = False,
    processes: int | None = None,
) -> int:
    """Compiles every kernel that forward passes of these batch sizes launch; what is in Triton's cache is left alone.

    Args:
        plan: one that the Triton backend takes.
        precision: ``fp32``, ``tf32``, ``fp16`` or ``bf16``.
        processes: by default as :func:`default_processes` says, one at least.

    Returns:
        The number of different kernels.

    Raises:
        CompileError: a kernel does not compile, or a process does not start.
        OSError: the folders of temporary files or of Triton's cache cannot be written.
    """
    count = max(1, default_processes() if processes is None else processes)
    with tempfile.TemporaryDirectory(prefix="inception_fast_compile_") as name:
        folder = Path(name)
        (folder / "claims").mkdir()
        (folder / "plan.json").write_bytes(plan_to_json(plan))
        write_table(folder / "table.json", Table(Machine("", "", ""), True, target.entries))
        job = {"precision": precision, "batches": list(batches), "batch_invariant": batch_invariant}
        job |= {"arch": target.arch, "limits": asdict(target.limits)}
        (folder / "job.json").write_text(json.dumps(job))
        _run(folder, count)
        for images in batches:
            mark = compiled_mark(plan, precision, images, target, batch_invariant)
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
        return len(list((folder / "claims").iterdir()))


def _run(folder: Path, count: int) -> None:
    """Starts the processes and waits for all of them."""
    from triton import knobs

    package = Path(inception_fast.__file__).parents[1]
    paths = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"PYTHONPATH": os.pathsep.join(paths), "TRITON_CACHE_DIR": str(knobs.cache.dir)}
    environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "ignore", "-m", "inception_fast.backends.triton_compile", str(folder)]
    logs = [folder / f"{i}.log" for i in range(count)]
    running = []
    try:
        for log in logs:
            with log.open("wb") as file:
                running.append(
                    subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
                )
        failed = [log for log, process in zip(logs, running, strict=True) if process.wait() != 0]
    except OSError as error:
        raise CompileError(f"{command[0]}: {error}") from error
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
                process.wait()
    if failed:
        raise CompileError(f"{len(failed)} of {count} processes failed; one ends in: {failed[0].read_text()[-1000:]}")


def compiled_mark(plan: Plan, precision: str, images: int, target: Target, batch_invariant: bool = False) -> Path:
    """The file beside Triton's cache that is there once the kernels of a batch size are in it.

    It is another one for other kernels, configurations or versions.
    """
    from triton import knobs

    kernels = sorted((Path(inception_fast.__file__).parent / "triton_kernels").glob("*.py"))
    known = f"{target.arch} {target.limits} {sorted(target.entries.items())}"
    versions = f"{metadata.version('triton')} {torch.__version__}"
    words = f"{precision} {images} {batch_invariant} {known} {versions}"
    parts = [plan_to_json(plan), words.encode(), *(path.read_bytes() for path in kernels)]
    digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
    return Path(knobs.cache.dir) / f"inception-fast-{digest[:32]}"


def main(words: Sequence[str] | None = None) -> int:
    """See the module."""
    from inception_fast.tuning.networks import plan_for_triton

    parser = argparse.ArgumentParser(prog="python -m inception_fast.tuning.precompile", description=__doc__)
    parser.add_argument("model", help="a network's name, or an engine file")
    parser.add_argument("--precision", default="fp16", choices=("fp32", "tf32", "fp16", "bf16"))
    parser.add_argument("--batch", type=int, action="append", metavar="N", help="repeatable; default: 1")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="side of the images; default: the model's own")
    parser.add_argument("--arch", type=int, metavar="NN", help="of a GPU that need not be here, such as 90")
    parser.add_argument("--processes", type=int, metavar="N")
    args = parser.parse_args(words)
    target = Target.of(torch.device("cuda", 0)) if args.arch is None else Target.absent(args.arch)
    plan, _ = plan_for_triton(args.model, args.size, args.precision)
    kernels = precompile(plan, args.precision, args.batch or [1], target, processes=args.processes)
    print(f"{kernels} kernels for sm_{target.arch}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
