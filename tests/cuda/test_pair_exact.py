"""The pair kernel on small integers, where every sum is exact, against the definition of its two convolutions; in
clusters of every size, and tiles of every height, that some device would choose.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
import torch

from inception_fast.plan.plan import (
    ALIGNMENT,
    Buffer,
    Constant,
    Convolution,
    Destination,
    Output,
    PairStep,
    Plan,
    Slice,
)
from tests.backends.cases import CASES
from tests.backends.harness import lowered, network_input
from tests.cpu.single_step import convolve, run_guarded, window
from tests.cuda.driving import DTYPES, Emulated, emulator

SHAPES = 15
"""Per precision."""
KERNELS = [((1, 7), (7, 1)), ((7, 1), (1, 7)), ((1, 3), (3, 1)), ((3, 1), (1, 3)), ((1, 5), (3, 3))]
DEVICES = [(4, 227 << 10, 8), (132, 227 << 10, 8), (132, 227 << 10, 4), (132, 99 << 10, 2), (108, 163 << 10, 1)]
"""Multiprocessors, bytes of shared memory, blocks of the largest cluster."""

LEAST = 97 << 9
"""Bytes of shared memory of a block without a pair: all that some device may have."""

ARCHITECTURES = {
    "80": (108, 163 << 10, 1),
    "86": (84, 99 << 10, 1),
    "89": (128, 99 << 10, 1),
    "90a": (132, 227 << 10, 8),
    "100a": (148, 227 << 10, 8),
    "120": (170, 99 << 10, 8),
}


@dataclass(frozen=True)
class Pair:
    """One pair whose source, residual and results are slices of wider buffers."""

    kernels: tuple[tuple[int, int], tuple[int, int]]
    channels: tuple[int, int, int]
    size: tuple[int, int]
    source_start: int
    relu: bool
    residual: bool
    batch: int

    def plan(self, dtype: str) -> Plan:
        (c_in, c_middle, c_out), (height, width) = self.channels, self.size
        split = c_out // 3
        buffers = [
            Buffer("x", height, width, self.source_start + c_in + 1, "input"),
            Buffer("y", height, width, split, "output"),
            Buffer("z", height, width, c_out - split, "output"),
        ]
        weights = {"w1": (c_middle, len(window(*self.kernels[0])), c_in), "b1": (c_middle,)}
        weights |= {"w2": (c_out, len(window(*self.kernels[1])), c_middle), "b2": (c_out,)}
        step = PairStep(
            "pair",
            Slice(0, self.source_start, c_in),
            Convolution("w1", "b1", c_in, c_middle, window(*self.kernels[0]), (1, 1)),
            self.relu,
            height,
            width,
            Convolution("w2", "b2", c_middle, c_out, window(*self.kernels[1]), (1, 1)),
            tuple(
                Destination(Slice(i + 1, 0, b.channels), i == 0) for i, b in enumerate(buffers[1:]) if b.channels > 0
            ),
            Slice(0, 0, c_out) if self.residual else None,
        )
        constants = {k: Constant(shape, dtype if k[0] == "w" else "float32") for k, shape in weights.items()}
        outputs = (Output(1, False), Output(2, False))
        return Plan(dtype, tuple(buffers), (step,), ((0,),), constants, outputs, ALIGNMENT)

    def values(self, plan: Plan) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        constants = {k: torch.randint(-2, 3, c.shape).double() for k, c in plan.constants.items()}
        # Sparse, so that the sums of two convolutions stay exact in every precision.
        for name, ones in (("w1", 0.1), ("w2", 0.3)):
            constants[name] = (torch.rand(constants[name].shape) < ones) * constants[name].sign()
        return torch.randint(-2, 3, (self.batch, plan.buffers[0].channels, *self.size)).double(), constants

    def expected(self, x: torch.Tensor, constants: dict[str, torch.Tensor], dtype: torch.dtype) -> list[torch.Tensor]:
        source = x[:, self.source_start : self.source_start + self.channels[0]]
        middle = convolve(source, constants["w1"], window(*self.kernels[0]), (1, 1), self.size)
        middle = (middle + constants["b1"].view(-1, 1, 1)).to(dtype).double()
        middle = middle.relu() if self.relu else middle
        result = convolve(middle, constants["w2"], window(*self.kernels[1]), (1, 1), self.size)
        result += constants["b2"].view(-1, 1, 1)
        if self.residual:
            result += x[:, : self.channels[2]]
        split = self.channels[2] // 3
        return [result[:, :split].relu().to(dtype), result[:, split:].to(dtype)]


SEVENTEEN = Pair(((1, 7), (7, 1)), (40, 70, 90), (17, 17), 0, True, False, 1)
"""As in the middle of Inception-v3, with fewer channels."""


def random_pair(rng: random.Random) -> Pair:
    c_in, residual = rng.randint(3, 60), rng.random() < 0.3
    c_out = rng.randint(3, c_in) if residual else rng.randint(3, 100)
    return Pair(
        rng.choice(KERNELS),
        (c_in, rng.randint(1, 100), c_out),
        (rng.randint(1, 19), rng.randint(1, 19)),
        rng.choice([0, 0, 5, 8]),
        rng.random() < 0.7,
        residual,
        rng.choice([1, 1, 2, 3]),
    )


@pytest.mark.parametrize("precision", DTYPES)
def test_exact(precision: str) -> None:
    rng, dtype = random.Random(precision), DTYPES[precision]
    clusters = set()
    for index, pair in enumerate([SEVENTEEN, *(random_pair(rng) for _ in range(SHAPES))]):
        plan = pair.plan(str(dtype).removeprefix("torch."))
        x, constants = pair.values(plan)
        emulator().set_limits(*DEVICES[(index + 1) % len(DEVICES)])
        executor = Emulated(plan, constants, precision, "pair")
        assert executor.native.launches() == [["pair"]]
        ((cluster, _),) = executor.native.shapes()
        clusters.add(cluster)
        results = run_guarded(executor, plan, x.to(dtype).contiguous(memory_format=torch.channels_last))
        for got, want in zip(results, pair.expected(x, constants, dtype), strict=True):
            assert torch.equal(got, want), pair
    assert clusters == {1, 2, 4, 8}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_same_bits_as_two_launches(precision: str, device: tuple[int, int, int]) -> None:
    """On real numbers, chains of pairs with and without a residual, in memory that held NaN."""
    graph = CASES["factorized_pairs"]()
    plan, constants = lowered(graph, precision)
    emulator().set_limits(*device)
    together, apart = (Emulated(plan, constants, precision, driver) for driver in ("pair", "stage"))
    assert 2 * len(together.native.launches()) == len(apart.native.launches())
    for batch in (1, 4):
        x = network_input(graph, precision, batch)
        for a, b in zip(run_guarded(together, plan, x), run_guarded(apart, plan, x), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize(
    "kernel, channels, size", [(7, (192, 224, 256), 17), (3, (384, 448, 512), 8), (7, (64, 64, 64), 71)]
)
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_pairs_of_inception_v4_fit(
    architecture: str, precision: str, kernel: int, channels: tuple[int, int, int], size: int
) -> None:
    """The family's largest stay together in clusters and, in 16 bits, on sm_80; always within the shared memory."""
    pair = Pair(((1, kernel), (kernel, 1)), channels, (size, size), 0, True, False, 1)
    plan = pair.plan(str(DTYPES[precision]).removeprefix("torch."))
    emulator().set_limits(*ARCHITECTURES[architecture])
    executor = Emulated(plan, pair.values(plan)[1], precision, "pair")
    _, memory, clusters = ARCHITECTURES[architecture]
    if clusters > 1 or (architecture, precision) == ("80", "fp16"):
        assert executor.native.launches() == [["pair"]]
    for cluster, shared in executor.native.shapes():
        assert shared <= memory and cluster <= clusters


def test_only_stages_with_pairs_have_clusters() -> None:
    plan, constants = lowered(CASES["merged_siblings"](), "fp16")
    emulator().set_limits(132)
    executor = Emulated(plan, constants, "fp16", "pair")
    assert {cluster for cluster, _ in executor.native.shapes()} == {1}


def test_pair_that_does_not_fit_is_two_launches() -> None:
    graph = CASES["factorized_pairs"]()
    plan, constants = lowered(graph, "fp32")
    emulator().set_limits(4, LEAST, 1)
    executor = Emulated(plan, constants, "fp32", "pair")
    assert [len(steps) for steps in executor.native.launches()] == [1] * (2 * len(plan.steps))
    assert {shared for _, shared in executor.native.shapes()} == {LEAST}


@pytest.mark.parametrize("omission", ["block_barrier", "cluster_barrier", "async_wait"])
def test_every_barrier_matters(omission: str) -> None:
    plan = SEVENTEEN.plan("float16")
    x, constants = SEVENTEEN.values(plan)
    emulator().set_limits(132)
    executor = Emulated(plan, constants, "fp16", "pair")
    assert executor.native.shapes()[0][0] > 1
    emulator().set_omission(getattr(emulator().Omission, omission))
    with pytest.raises(emulator().Fault, match=r"kernel pair_fp16, block \d+, thread \d+: "):
        run_guarded(executor, plan, x.half())
