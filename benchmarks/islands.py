"""Regions by size: what an engine saves against PyTorch's operators, measured and by the model that decides on it.

    python benchmarks/islands.py [--rounds 50]

A row: a chain of ConvBNReLU layers or Inception blocks of some width on maps of some size, batch 1, one thread. Times
are the least of the rounds, in microseconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import nn

import inception_fast as ifast
from inception_fast.graph.export import constants_of, export_images
from inception_fast.models.googlenet import Inception
from inception_fast.models.layers import BasicConv2d
from inception_fast.partition.regions import find_regions
from inception_fast.partition.worth import Work


def chain(layers: int, channels: int) -> nn.Module:
    return nn.Sequential(*(BasicConv2d(channels, channels, kernel_size=3, padding=1) for _ in range(layers)))


def blocks(count: int, channels: int) -> nn.Module:
    quarter = channels // 4
    return nn.Sequential(
        *(Inception(channels, quarter, quarter, quarter, quarter, quarter, quarter) for _ in range(count))
    )


CASES: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    f"{kind} {count} x {channels} on {size}x{size}": (lambda c=count, w=channels, m=make: m(c, w), channels, size)
    for kind, make, counts in (("layers", chain, (1, 2, 4)), ("blocks", blocks, (1, 2)))
    for count in counts
    for channels, size in ((8, 8), (32, 8), (128, 8), (32, 28), (128, 28), (64, 56))
}


def least(run: Callable[[], object], rounds: int) -> float:
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def work_of(module: nn.Module, x: torch.Tensor) -> Work:
    """Of the module as one region, however small."""
    from unittest import mock

    program = export_images(module, x)
    with mock.patch("inception_fast.partition.regions.objection", lambda work: None):
        (region,) = find_regions(program.graph, constants_of(program)).regions
    return region.work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'region':28} {'eager':>8} {'engine':>8} {'saved':>8} {'model':>8} {'MMAC':>8} {'ops':>5}")
    for name, (make, channels, size) in CASES.items():
        module, x = make().eval(), torch.randn(1, channels, size, size)
        fast = ifast.optimize(module, x, accuracy="fast")
        with torch.inference_mode():
            eager, ours = least(lambda m=module, x=x: m(x), args.rounds), least(lambda f=fast, x=x: f(x), args.rounds)
        work = work_of(module, x)
        times = " ".join(f"{1e6 * t:8.0f}" for t in (eager, ours, eager - ours, work.gain))
        print(f"{name:28} {times} {work.multiply_adds / 1e6:8.1f} {work.operators:5}")


if __name__ == "__main__":
    main()
