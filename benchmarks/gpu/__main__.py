"""``python -m benchmarks.gpu [--part PART ...] [--minutes N] [--resume]``, from the root of a checkout.

Tests, compute-sanitizer and measurements on the GPU, each in a process of its own, until the minutes are spent. Results
go to ``benchmarks/results/GPU/`` as they come, with ``journal.json``, which says what held, what failed and what there
was no time for; ``--resume`` goes on from there. ``--dry-run`` goes the same way on a CPU with tiny images: it says
that the way is free, and nothing of speed. The exit status is 0 where everything that was begun held.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from benchmarks.gpu.campaign import HELD, NO_TIME, Entry, run
from benchmarks.gpu.jobs import DEFAULT_PARTS, PARTS, dry_jobs, jobs_of
from inception_fast.bench.environment import environment
from inception_fast.cli.output import log
from inception_fast.cli.table import render_table
from inception_fast.tuning.table import slug

RESULTS = Path("benchmarks") / "results"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = " ".join(DEFAULT_PARTS)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=DEFAULT_PARTS, help=f"default: {defaults}")
    parser.add_argument("--minutes", type=float, default=9.5, help="budget; what does not fit is left out")
    parser.add_argument("--output", type=Path, help="folder for the JSON files; default: benchmarks/results/GPU")
    parser.add_argument("--resume", action="store_true", help="leave out what held in the journal of this commit")
    parser.add_argument("--dry-run", action="store_true", help="the same way on the CPU, in little")
    args = parser.parse_args()
    if not args.dry_run and not torch.cuda.is_available():
        log("this needs a CUDA device that PyTorch sees; `inception-fast doctor` says what is missing")
        return 1
    device = torch.device("cpu" if args.dry_run else "cuda")
    folder = args.output or RESULTS / ("dry-run" if args.dry_run else slug(torch.cuda.get_device_name()))
    folder.mkdir(parents=True, exist_ok=True)
    jobs = dry_jobs() if args.dry_run else jobs_of(args.part)
    entries = run(jobs, folder, environment(device), minutes=args.minutes, resume=args.resume)
    print(summary(entries))
    log(f"results are in {folder}")
    return 0 if all(entry.outcome in (HELD, NO_TIME) for entry in entries) else 1


def summary(entries: list[Entry]) -> str:
    """What became of each job, as a table."""
    return render_table(("job", "outcome", "s"), [(e.name, e.outcome, f"{e.seconds:.0f}") for e in entries])


if __name__ == "__main__":
    sys.exit(main())
