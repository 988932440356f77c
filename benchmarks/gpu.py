"""Everything that needs a GPU, in one command: its tests, then verification, contests and kernels as JSON files.

``python -m benchmarks.gpu [--output FOLDER] [--models NAME ...]``; also ``make gpu``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import torch

from inception_fast import list_models
from inception_fast.cli.main import main as inception_fast
from inception_fast.cli.output import log


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
    parser.add_argument("--output", type=Path, default=Path("benchmark-results"), help="folder for the JSON files")
    parser.add_argument("--models", nargs="+", default=list_models(), metavar="NAME")
    parser.add_argument("--no-tests", action="store_true", help="measure only")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        log("this needs a CUDA device that PyTorch sees; `inception-fast doctor` says what is missing")
        return 1
    args.output.mkdir(parents=True, exist_ok=True)
    failed = []
    if not args.no_tests and subprocess.run([sys.executable, "-m", "pytest", "-m", "gpu"]).returncode:
        failed.append("tests")
    for name, words in commands(args.models, args.output).items():
        log(f"inception-fast {' '.join(words)}")
        if inception_fast(words):
            failed.append(name)
    log(f"failed: {', '.join(failed)}" if failed else f"all held; results are in {args.output}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
