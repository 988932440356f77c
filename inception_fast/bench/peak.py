"""What a machine was measured to reach at its best, to hold a kernel's speed against."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from inception_fast.backends.cpu import native
from inception_fast.bench.contest import numerics
from inception_fast.bench.timing import timer_for
from inception_fast.plan.engine_file import PRECISIONS

ARITHMETIC = ("fp32", "bf16", "int8")
"""What the CPU's instructions multiply and add."""
LOOP_SECONDS = 0.2
SIDE = 8192
"""Of the matrices whose product shows what a GPU reaches."""
COPIED = 1 << 28
"""Bytes, beyond any cache."""
REPEATS = 7


@dataclass(frozen=True)
class Peak:
    """Measured limits of some threads of a CPU, or of a GPU.

    Attributes:
        operations_per_second: a multiply-add being two, with the fastest instruction that the precision may use.
        bytes_per_second: of a copy that no cache can hold, those read and those written.
        arithmetic: operations per second by what is multiplied; what the machine lacks is not there.
        threads: of the CPU; 0 for a GPU.
    """

    operations_per_second: float
    bytes_per_second: float
    arithmetic: dict[str, float]
    threads: int

    def share_of_arithmetic(self, operations: int, seconds: float) -> float:
        """Winograd may come to more than 1, since ``operations`` are those of the definition."""
        return operations / seconds / self.operations_per_second

    def share_of_bandwidth(self, traffic: int, seconds: float) -> float:
        """What stays in the caches may come to more than 1."""
        return traffic / seconds / self.bytes_per_second


def measure_peak(device: torch.device, precision: str) -> Peak | None:
    """On the CPU with PyTorch's number of threads. None there where the C++ part is missing."""
    if device.type == "cuda":
        rate = _product_rate(device, precision)
        return Peak(rate, _copy_rate(device), {precision: rate}, 0)
    try:
        threads = min(torch.get_num_threads(), native().usable_processors())
    except ImportError:
        return None
    measured = {name: _loop_rate(name, threads) for name in ARITHMETIC}
    rates = {name: rate for name, rate in measured.items() if rate > 0}
    return Peak(rates.get(precision, rates["fp32"]), _copy_rate(device), rates, threads)


def _loop_rate(arithmetic: str, threads: int) -> float:
    """Operations per second of all threads at once, in a loop that stays in the registers."""
    module = native()
    best = module.instruction_sets()[-1]
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(lambda _: module.peak_operations(best, arithmetic, LOOP_SECONDS), range(threads)))


def _product_rate(device: torch.device, precision: str) -> float:
    """Operations per second of a large matrix product of the vendor's library."""
    with numerics(precision):
        a = torch.randn(SIDE, SIDE, device=device).to(getattr(torch, PRECISIONS[precision]))
        b, out = a.flip(0), torch.empty_like(a)
        return 2 * SIDE**3 / _least_seconds(lambda: torch.mm(a, b, out=out), device)


def _copy_rate(device: torch.device) -> float:
    source = torch.ones(COPIED, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    return 2 * COPIED / _least_seconds(lambda: target.copy_(source), device)


def _least_seconds(run: Callable[[], object], device: torch.device) -> float:
    run()
    timer = timer_for(device)
    return min(timer(run, 1) for _ in range(REPEATS))
