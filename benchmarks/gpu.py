"""Everything that needs a GPU, in one command: its tests, then verification, contests and kernels as JSON files.

``python -m benchmarks.gpu [--output FOLDER] [--models NAME ...]``; also ``make gpu``. ``--dry-run`` goes the same way
on the CPU with tiny images and few samples, and without the tests: it says that the way is free, and nothing of speed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from inception_fast import list_models
from inception_fast.cli.main import main as inception_fast
from inception_fast.cli.output import log

SANITIZED = "tests/triton/test_conv.py"
"""Small launches of the kernel with the most addresses; compute-sanitizer slows each down a hundredfold."""


def dry_commands(models: list[str], folder: Path) -> dict[str, list[str]]:
    """What :func:`commands` lists, cut down to what a CPU does in seconds."""
    small = [*models, "--device", "cpu", "--size", "79", "--threads", "1", "--batch", "1"]
    ours = ["--backend", "torch", "--precision", "fp32"]
    listed = {
        "verify": ["verify", *small, *ours],
        "bench": ["bench", *small, *ours, "--rounds", "2", "--peer", "eager", "--seconds", "5"],
        "kernels-1": ["kernels", *small, "--rounds", "1", "--filter", "1x7"],
    }
    return {name: [*words, "--json", str(folder / f"{name}.json")] for name, words in listed.items()}


def default_folder() -> Path:
    """``benchmarks/results/<gpu>`` of this checkout."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "dry-run"
    return Path(__file__).parent / "results" / name.lower().replace(" ", "-")


def sanitize() -> bool:
    """Whether compute-sanitizer finds no fault; true where it is not installed, with a word about it."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        log("compute-sanitizer is not installed: memory accesses were not checked")
        return True
    return not subprocess.run(
        [tool, "--error-exitcode", "1", sys.executable, "-m", "pytest", "-q", SANITIZED]
    ).returncode


def commands(models: list[str], folder: Path) -> dict[str, list[str]]:
    """Arguments of ``inception-fast`` by the name of the file that they write."""
    on_gpu = ["--device", "cuda"]
    formats = ["--precision", "fp16", "--precision", "bf16"]
    batches = [word for batch in (1, 8, 64, 256) for word in ("--batch", str(batch))]
    listed = {
        "verify": ["verify", *models, *on_gpu, "--precision", "fp32", "--precision", "tf32", *formats, "--bisect"],
        "bench": ["bench", *models, *on_gpu, *formats, *batches],
        "kernels-1": ["kernels", *models, *on_gpu, "--precision", "fp16", "--batch", "1"],
        "kernels-64": ["kernels", *models, *on_gpu, "--precision", "fp16", "--batch", "64"],
    }
    return {name: [*words, "--json", str(folder / f"{name}.json")] for name, words in listed.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="folder for the JSON files; default: benchmarks/results/GPU")
    parser.add_argument("--models", nargs="+", default=list_models(), metavar="NAME")
    parser.add_argument("--no-tests", action="store_true", help="measure only")
    parser.add_argument("--dry-run", action="store_true", help="the same way on the CPU, in little")
    args = parser.parse_args()
    if not args.dry_run and not torch.cuda.is_available():
        log("this needs a CUDA device that PyTorch sees; `inception-fast doctor` says what is missing")
        return 1
    folder = args.output or default_folder()
    folder.mkdir(parents=True, exist_ok=True)
    failed = []
    if not args.no_tests and not args.dry_run:
        if subprocess.run([sys.executable, "-m", "pytest", "-m", "gpu"]).returncode:
            failed.append("tests")
        if not sanitize():
            failed.append("compute-sanitizer")
    listed = dry_commands(args.models, folder) if args.dry_run else commands(args.models, folder)
    for name, words in listed.items():
        log(f"inception-fast {' '.join(words)}")
        if inception_fast(words):
            failed.append(name)
    log(f"failed: {', '.join(failed)}" if failed else f"all held; results are in {folder}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
