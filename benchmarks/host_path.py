"""What a call costs before and after the kernels: ``python -m benchmarks.host_path [--json FILE] [--device cuda]``.

On a CPU the executor's compiled part is replaced by nothing, so that what is left of a call is the host's path: checks,
the choice of the executor, the memory of the results, the kernels' arguments, the structure of the outputs, the call of
the module. Then a stand-in executor takes the executor's place, and the layers are timed one by one. Microseconds of
the calling thread, which a busy machine lengthens little: the median and the tenths at the ends of the repeats.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from inception_fast import FastModel, optimize
from inception_fast.backends.base import Executor, Out
from inception_fast.bench.environment import environment
from inception_fast.bench.record import jsonable
from inception_fast.bench.statistics import Summary
from inception_fast.cli.output import write_json
from inception_fast.cli.table import render_table

CALLS, REPEATS = 500, 60


class StandIn(Executor):
    """Returns the same results every time, in the caller's memory as far as that goes."""

    places_outputs = True

    def __init__(self, results: list[torch.Tensor]) -> None:
        self._results = results

    def run(self, x: torch.Tensor, out: Out | None = None) -> list[torch.Tensor]:
        return self._results if out is None else list(out.values())


class NoKernels:
    """In the place of the compiled executor: takes the arguments and does nothing."""

    def run(self, *arguments: object) -> None:
        pass


def network() -> nn.Module:
    """A convolution, a pool and logits: one output, as a classifier has."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    return nn.Sequential(*layers).eval()


def layers_of(fast: FastModel, x: torch.Tensor) -> dict[str, Summary]:
    """Microseconds by layer. ``fast`` gets a stand-in in the place of its executor."""
    backend, real = fast.executor_for(x.device)
    results, y = real.run(x), fast(x)
    bound = fast.static(x)
    layers: dict[str, Callable[[], object]] = {}
    if x.is_cuda:
        layers |= {"call": lambda: fast(x), "  executor": lambda: real.run(x), "static call": bound}
    else:
        real._native = NoKernels()  # type: ignore[attr-defined]
        layers |= {"call, no kernels": lambda: fast(x), "  executor": lambda: real.run(x), "static call": bound}
        layers |= {"call with out=": lambda: fast(x, out=y)}
    found = {name: microseconds(run) for name, run in layers.items()}
    stand_in = StandIn(results)
    fast._executors[x.device] = (backend, stand_in)
    layers = {
        "call of a stand-in executor": lambda: fast(x),
        "  check of the input": lambda: fast.check(x),
        "  choice of the executor": lambda: fast.executor_for(x.device),
        "  memory of the results": lambda: fast._outputs.allocate(x),
        "  structure": lambda: fast._build(results),
    }
    return {**found, **{name: microseconds(run) for name, run in layers.items()}}


def microseconds(run: Callable[[], object]) -> Summary:
    """Of one call, in the calling thread's own time."""
    samples = []
    for _ in range(REPEATS):
        begin = time.thread_time_ns()
        for _ in range(CALLS):
            run()
        samples.append(1e-3 * (time.thread_time_ns() - begin) / CALLS)
    return Summary.of(samples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    device = torch.device(args.device)
    x = torch.randn(1, 3, 32, 32, device=device)
    fast = optimize(network().to(device), x, backend="cpu" if device.type == "cpu" else "auto")
    with torch.inference_mode():
        found = layers_of(fast, x)
    print(
        render_table(
            ("layer", "us", "p10", "p90"),
            [(name, f"{s.median:.2f}", f"{s.p10:.2f}", f"{s.p90:.2f}") for name, s in found.items()],
        )
    )
    write_json(args.json, jsonable({"environment": environment(device), "microseconds": found}))


if __name__ == "__main__":
    main()
