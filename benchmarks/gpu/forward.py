"""One forward pass for a profiler to look at: ``python -m benchmarks.gpu.forward MODEL``.

The pass is between the profiler's start and stop marks, behind warm-up, so that ``ncu --profile-from-start off`` sees
each kernel of it once (those of a CUDA graph too: it profiles their nodes).
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext

import torch

from inception_fast import optimize
from inception_fast.bench.targets import load_images, load_target

WARM_UP = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", type=int)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--precision", default="fp32")
    args = parser.parse_args()
    target = load_target(args.model, args.size)
    x = load_images(target.size, args.batch).to(args.device)
    fast = optimize(target.model.to(args.device), x[:1], precision=args.precision, backend=args.backend)
    marked = torch.cuda.profiler.profile() if x.is_cuda else nullcontext()
    for _ in range(WARM_UP):
        fast(x)
    with marked:
        fast(x)
        if x.is_cuda:
            torch.cuda.synchronize()


if __name__ == "__main__":
    main()
