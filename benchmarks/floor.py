"""What a forward pass cannot be faster than on a GPU: ``python -m benchmarks.floor MODEL [--batch N ...]``.

Arithmetic over the Plan, no measurement. For each stage, in microseconds:

- ``matrix``: operations over the matrix rate; ``memory``: the bytes that must move over the bandwidth;
- ``tiles``: the convolutions' tiles dealt to the multiprocessors: the number of rounds, times the operations of a tile
  over a multiprocessor's rate. Small images fill the device badly, so this is where batch 1 loses its time;
- a stage's floor is the largest of the three plus one hop from the stage before.

``--rate`` and ``--bandwidth`` are to be those that a machine was measured to reach (for an H200, a large bfloat16
product and a large copy gave 790 TFLOP/s and 4.3 TB/s), and ``--hop`` the time between two dependent stages.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch

from inception_fast.backends import get_backend
from inception_fast.bench.targets import load_target
from inception_fast.cli.options import positive
from inception_fast.cli.table import render_table
from inception_fast.graph.capture import capture
from inception_fast.graph.passes import optimize_graph
from inception_fast.plan.cost import operations, traffic
from inception_fast.plan.lower import lower
from inception_fast.plan.plan import ConvStep, Plan, Step, destinations_of

HEADER = ("stage", "steps", "tiles", "matrix us", "memory us", "tiles us", "floor us", "first step")
SUMS = ("batch", "images/s", "matrix us", "memory us", "tiles us", "hops us", "floor us")


@dataclass(frozen=True)
class Machine:
    """A GPU as the model sees it.

    Attributes:
        rate: operations per second of all multiprocessors.
        bandwidth: bytes per second.
        hop: seconds from the end of a stage to the start of the next.
        multiprocessors: of which each works on one tile at a time.
        tile: output pixels and output channels.
        split_k: whether the sum of a tile is cut among multiprocessors that would have none; what adding the parts
            together costs is left out.
    """

    rate: float
    bandwidth: float
    hop: float
    multiprocessors: int
    tile: tuple[int, int]
    split_k: bool = False


@dataclass(frozen=True)
class Floor:
    """Seconds of a stage, by what bounds it."""

    tiles: int
    matrix: float
    memory: float
    dealt: float

    @property
    def work(self) -> float:
        """Without the hop."""
        return max(self.matrix, self.memory, self.dealt)


def tiles_of(plan: Plan, step: Step, batch: int, tile: tuple[int, int]) -> int:
    """Tiles of a convolution; 0 for any other step."""
    if not isinstance(step, ConvStep):
        return 0
    target = plan.buffers[destinations_of(step)[0].slice.buffer]
    return ceil(batch * target.height * target.width / tile[0]) * ceil(step.conv.out_channels / tile[1])


def stage_floor(plan: Plan, steps: Sequence[Step], batch: int, machine: Machine) -> Floor:
    """The bounds of one stage.

    Tiles are dealt in equal rounds, and a round lasts as long as the longest tile in it: the longest tiles go first.
    """
    share = machine.rate / machine.multiprocessors
    lengths: list[float] = []
    for step in steps:
        if isinstance(step, ConvStep):
            terms = step.conv.in_channels * len(step.conv.taps)
            seconds = 2 * terms * machine.tile[0] * machine.tile[1] / share
            lengths += [seconds] * tiles_of(plan, step, batch, machine.tile)
    if machine.split_k and lengths:
        parts = max(1, machine.multiprocessors // len(lengths))
        lengths = [seconds / parts for seconds in lengths for _ in range(parts)]
    lengths.sort(reverse=True)
    return Floor(
        tiles=sum(tiles_of(plan, step, batch, machine.tile) for step in steps),
        matrix=sum(operations(plan, step) for step in steps if isinstance(step, ConvStep)) * batch / machine.rate,
        memory=sum(traffic(plan, step, batch) for step in steps) / machine.bandwidth,
        dealt=sum(lengths[:: machine.multiprocessors]),
    )


def floors(plan: Plan, batch: int, machine: Machine) -> list[Floor]:
    """Of every stage of a Plan."""
    return [stage_floor(plan, [plan.steps[i] for i in stage], batch, machine) for stage in plan.stages]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="inception_v3")
    parser.add_argument("--batch", type=positive, action="append", help="repeatable; default: 1")
    parser.add_argument("--dtype", choices=("float16", "bfloat16", "float32"), default="float16")
    parser.add_argument("--rate", type=float, default=790.0, help="TFLOP/s; default: 790")
    parser.add_argument("--bandwidth", type=float, default=4.3, help="TB/s; default: 4.3")
    parser.add_argument("--hop", type=float, default=1.3, help="microseconds; default: 1.3")
    parser.add_argument("--multiprocessors", type=positive, default=132)
    parser.add_argument("--tile", type=positive, nargs=2, default=(64, 64), metavar=("PIXELS", "CHANNELS"))
    parser.add_argument("--split-k", action="store_true", help="cut a tile's sum where multiprocessors are idle")
    parser.add_argument("--stages", action="store_true", help="a row for each stage, too")
    args = parser.parse_args()
    pixels, channels = args.tile
    rates = args.rate * 1e12, args.bandwidth * 1e12, args.hop * 1e-6
    machine = Machine(*rates, args.multiprocessors, (pixels, channels), args.split_k)
    target = load_target(args.model)
    graph = capture(target.model, torch.zeros(1, 3, target.size, target.size)).graph
    plan, _ = lower(optimize_graph(graph, get_backend("cuda").lowering)[0], args.dtype)
    sums = []
    for batch in args.batch or [1]:
        found = floors(plan, batch, machine)
        if args.stages:
            print(f"batch {batch}\n{render_table(HEADER, stage_rows(plan, found, machine))}\n")
        sums.append(sum_row(found, batch, machine))
    print(render_table(SUMS, sums))


def stage_rows(plan: Plan, found: Sequence[Floor], machine: Machine) -> list[tuple[object, ...]]:
    """A row of :data:`HEADER` for each stage."""
    return [
        (number, len(stage), f.tiles, *_microseconds(f.matrix, f.memory, f.dealt, f.work + machine.hop), first.name)
        for number, (stage, f) in enumerate(zip(plan.stages, found, strict=True))
        for first in [plan.steps[stage[0]]]
    ]


def sum_row(found: Sequence[Floor], batch: int, machine: Machine) -> tuple[object, ...]:
    """A row of :data:`SUMS`."""
    hops = len(found) * machine.hop
    total = sum(f.work for f in found) + hops
    parts = (sum(f.matrix for f in found), sum(f.memory for f in found), sum(f.dealt for f in found))
    return (batch, f"{batch / total:.0f}", *_microseconds(*parts, hops, total))


def _microseconds(*seconds: float) -> list[str]:
    return [f"{1e6 * s:.1f}" for s in seconds]


if __name__ == "__main__":
    main()
