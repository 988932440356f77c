"""``python -m tests.fuzz [--networks N] [--backend NAME]``: random networks on a backend.

A line on stdout for each that fails: its seed, how it was run, what was wrong, and the smallest network that fails in
the same way. Exit status 1 where there was one. ``triton`` runs in Triton's interpreter and ``cuda`` in the emulator.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--networks", type=int, default=1000, metavar="N")
    parser.add_argument("--seed", type=int, default=0, help="of the first; the others follow")
    parser.add_argument("--minutes", type=float, default=float("inf"), metavar="M", help="end after so many")
    parser.add_argument("--backend", default="cpu", help="default: cpu")
    parser.add_argument("--isa", action="append", help="of cpu; may be given again; default: all; portable, sanitized")
    parser.add_argument("--precision", action="append", help="may be given again; default: all of it, in turn")
    parser.add_argument("--captured", type=int, default=50, metavar="K", help="every K-th through optimize; 0 for none")
    parser.add_argument("--factor", type=float, default=1.0, metavar="F", help="errors up to F times what is promised")
    parser.add_argument("--offset", type=float, default=0.0, metavar="X", help="of images, for sums that cancel")
    parser.add_argument("--sanitize", choices=["address", "thread"], help="run engine files in a sanitized C++ program")
    args = parser.parse_args()
    # Both are looked at when a backend is first asked for.
    os.environ.setdefault("TRITON_INTERPRET", "1")
    os.environ.setdefault("INCEPTION_FAST_EMULATE", "1")
    warnings.filterwarnings("ignore", "example_inputs: int8")

    import torch

    from inception_fast.backends import get_backend
    from tests.fuzz.sweep import Choice, sweep

    torch.set_num_threads(1)
    end = time.monotonic() + 60 * args.minutes
    seeds = range(args.seed, args.seed + args.networks)
    if args.sanitize:
        from tests.fuzz.sanitized import sweep_sanitized

        found_by = sweep_sanitized(args.sanitize, seeds, args.isa or ["portable"])
    else:
        isas: list[str] = [""]
        if args.backend == "cpu":
            from inception_fast.backends.cpu import native

            isas = args.isa or native().instruction_sets()
        served = get_backend(args.backend).precisions(torch.device("cpu"))
        precisions = args.precision or [p for p in served if p != "tf32"]
        choice = Choice(args.backend, isas, precisions, args.captured, args.factor, args.offset)
        found_by = sweep(choice, seeds)
    run = failed = 0
    for found in found_by:
        run += 1
        if found is not None:
            failed += 1
            print(found, flush=True)
        if time.monotonic() > end:
            break
    print(f"{run} networks, {failed} failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
