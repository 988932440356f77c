"""The first kernels of the ``cuda`` backend and the next ones, as parameters of the time model.

Before any GPU had run them, a close reading of their sources and their SASS predicted what Inception-v3 takes in fp16
on an H100. :data:`TABLE` has those predictions; the time model is to say the same with the constants that ship.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import ceil

import torch

from inception_fast.backends import get_backend
from inception_fast.backends.cuda import native
from inception_fast.graph.capture import capture
from inception_fast.graph.passes import optimize_graph
from inception_fast.lowering.lower import lower
from inception_fast.models import InceptionV3
from inception_fast.plan.plan import Convolution, ConvStep, PairStep, Plan, PoolStep

MULTIPROCESSORS = 132
ROWS, NARROW, WIDE = 64, 32, 64
CHUNK_BYTES, ELEMENT, VECTOR = 64, 2, 8
TODAY = {WIDE: 219, NARROW: 238}
"""Instructions of a warp for a chunk, from the SASS of sm_90a, by the tile's columns."""
A1 = {WIDE: 115, NARROW: 133}
"""The same where the loop loads nothing from memory."""
STEP_LINES = 3
"""Cache lines of a ``Step`` that the first loop read in each chunk."""
RESIDENT = 4


@dataclass(frozen=True)
class Variant:
    """What differs between the predicted versions.

    Attributes:
        instructions: by the tile's columns.
        shortest: segment, in chunks.
        waves: blocks for each multiprocessor that segments may fill.
        by_batch: whether the tile's width is chosen for each batch size, and not once for one image.
        network: one launch, whose blocks wait for counters.
        lines_lost: there, to polls that empty L1, in each chunk.
    """

    instructions: dict[int, int]
    shortest: int = 16
    waves: int = 1
    by_batch: bool = False
    network: bool = False
    lines_lost: int = STEP_LINES


A4 = {"shortest": 6, "waves": 2}
"""Shorter segments, up to two blocks for each multiprocessor."""
TABLE: dict[str, tuple[Variant, dict[int, float]]] = {
    "stage driver, first kernels": (Variant(TODAY), {1: 480, 8: 1050, 32: 3470, 128: 13500}),
    "network driver, first kernels": (Variant(TODAY, network=True), {1: 850}),
    "short segments (A4)": (Variant(TODAY, **A4), {1: 295}),
    "a loop without loads (A1), A4": (Variant(A1, **A4), {1: 270, 8: 900, 32: 3200, 128: 12500}),
    "A1, a width for each batch (A2)": (Variant(A1, by_batch=True), {1: 310, 32: 2600, 128: 10100}),
}
"""Versions, and what was predicted: microseconds of a pass, by batch. Of the network driver 700 to 1,000."""


@dataclass(frozen=True)
class Conv:
    """A convolution; sizes are of one image."""

    name: str
    pixels: int
    channels: int
    chunks: int
    source: int

    def width(self, images: int) -> int:
        """The first rule: narrow where that pads less, or where wide tiles leave multiprocessors idle."""
        wide, narrow = ceil(self.channels / WIDE), ceil(self.channels / NARROW)
        few = ceil(images * self.pixels / ROWS) * wide < MULTIPROCESSORS
        return NARROW if few or narrow * NARROW < wide * WIDE else WIDE

    def tiles(self, images: int, width: int) -> int:
        return ceil(images * self.pixels / ROWS) * ceil(self.channels / width)


@dataclass(frozen=True)
class Pool:
    """A pool; elements are of one image."""

    name: str
    source: int
    output: int
    window: int


@cache
def inception_v3() -> Plan:
    """At 299x299 in fp16; nothing here depends on its weights."""
    graph = capture(InceptionV3().eval(), torch.zeros(1, 3, 299, 299)).graph
    return lower(optimize_graph(graph, get_backend("cuda").lowering)[0], "float16")[0]


@cache
def launches() -> list[list[Conv | Pool]]:
    """Of the stage driver: one a stage, and one more for the second halves of its pairs."""
    plan, result = inception_v3(), []
    for stage in plan.stages:
        now: list[Conv | Pool] = []
        then: list[Conv | Pool] = []
        for step in (plan.steps[i] for i in stage):
            if isinstance(step, ConvStep):
                source = step.source.channels * _pixels(plan, step.source.buffer)
                now.append(_conv(step.name, step.conv, _pixels(plan, step.destinations[0].slice.buffer), source))
            elif isinstance(step, PairStep):
                middle = step.middle_height * step.middle_width
                source = step.source.channels * _pixels(plan, step.source.buffer)
                now.append(_conv(f"{step.name}.first", step.first, middle, source))
                target = _pixels(plan, step.destinations[0].slice.buffer)
                then.append(_conv(f"{step.name}.second", step.second, target, middle * step.first.out_channels))
            else:
                assert isinstance(step, PoolStep)
                channels = step.source.channels
                sizes = [channels * _pixels(plan, s.buffer) for s in (step.source, step.destination.slice)]
                now.append(Pool(step.name, *sizes, step.kernel[0] * step.kernel[1]))
        result += [now, then] if then else [now]
    return result


def _pixels(plan: Plan, buffer: int) -> int:
    return plan.buffers[buffer].height * plan.buffers[buffer].width


def _conv(name: str, conv: Convolution, pixels: int, source: int) -> Conv:
    vectors = len(conv.taps) * ceil(conv.in_channels / VECTOR)
    return Conv(name, pixels, conv.out_channels, ceil(vectors * VECTOR * ELEMENT / CHUNK_BYTES), source)


def segment_chunks(convs: list[Conv], variant: Variant) -> dict[str, int]:
    """Of each convolution of a launch, chosen for one image."""
    tiles = {c.name: c.tiles(1, c.width(1)) for c in convs}
    most = variant.waves * MULTIPROCESSORS
    if sum(tiles.values()) >= most:
        return {c.name: c.chunks for c in convs}
    share = max(variant.shortest, ceil(sum(tiles[c.name] * c.chunks for c in convs) / most))
    cuts = {c.name: max(1, c.chunks // share) if c.width(1) == NARROW else 1 for c in convs}
    return {c.name: ceil(c.chunks / cuts[c.name]) for c in convs}


def work(steps: list[Conv | Pool], variant: Variant, images: int) -> list:
    """A launch as the time model takes it."""
    module, convs = native(emulate=True), [s for s in steps if isinstance(s, Conv)]
    length = segment_chunks(convs, variant)
    width = {c.name: c.width(images if variant.by_batch else 1) for c in convs}
    parts = {c.name: ceil(c.chunks / length[c.name]) for c in convs}
    # Segments have a block each where all of them are resident at once.
    blocks = sum(c.tiles(images, width[c.name]) * parts[c.name] for c in convs)
    spread = blocks <= RESIDENT * MULTIPROCESSORS
    result = []
    for step in steps:
        own = module.StepWork()
        own.name = step.name
        if isinstance(step, Pool):
            own.reads, own.blocks = step.window, ceil(images * step.output / VECTOR / 128)
            own.l2_bytes = own.activation_bytes = images * (step.source + step.output) * ELEMENT
        else:
            columns = width[step.name]
            code = module.TileCode()
            code.rows, code.columns, code.chunk_bytes, code.resident = ROWS, columns, CHUNK_BYTES, RESIDENT
            code.unit_columns, code.instructions = columns // 2, variant.instructions[columns]
            own.code, tiles = code, step.tiles(images, columns)
            own.parts = parts[step.name] if spread else 1
            own.chunks = length[step.name] if own.parts > 1 else step.chunks
            own.blocks = tiles * own.parts
            written = images * step.pixels * step.channels * ELEMENT
            sums = 2 * own.blocks * ROWS * columns * 4 if own.parts > 1 else 0
            own.l2_bytes = tiles * step.chunks * (ROWS + columns) * CHUNK_BYTES + written + sums
            own.weight_bytes = ceil(step.channels / columns) * columns * step.chunks * CHUNK_BYTES
            own.activation_bytes = images * step.source * ELEMENT + written
        result.append(own)
    return result


def predicted(variant: Variant, images: int) -> list:
    """The time of each launch of Inception-v3 in fp16."""
    module = native(emulate=True)
    conditions, described = module.Conditions(), [work(steps, variant, images) for steps in launches()]
    weights = sum(w.weight_bytes for steps in described for w in steps)
    conditions.working_set = weights + images * inception_v3().arena * ELEMENT
    if variant.network:
        conditions.hand_over, conditions.lines_lost = module.HandOver.counter, variant.lines_lost
    machine = module.MachineConstants()
    return [module.predict_launch(steps, machine, conditions) for steps in described]
