"""Functions, depthwise convolutions, adaptive pools and steps along channels, on every instruction set."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from inception_fast.activation import Activation
from inception_fast.graph import ir
from inception_fast.graph.interpreter import interpret
from tests.backends.cases import CASES
from tests.backends.harness import assert_close, lowered, network_input, truth_and_bounds
from tests.cpu.single_step import make_native, run_guarded
from tests.graph.build import Build

NAMES = ["functions", "conv_functions", "depthwise", "adaptive_pools", "softmax", "local_response", "gates"]


def outputs(
    graph: ir.Graph, x: torch.Tensor, isa: str, precision: str = "fp32", threads: int = 1, algorithm: str = ""
) -> list[torch.Tensor]:
    """Of the graph, in its order and shapes, from memory whose surroundings must not change."""
    plan, constants = lowered(graph, precision)
    buffers = [i for i, b in enumerate(plan.buffers) if b.home == "output"]
    executor = make_native(plan, constants, isa, threads, algorithm)
    results = dict(zip(buffers, run_guarded(executor, plan, x), strict=True))
    return [results[o.buffer].flatten(1) if o.flat else results[o.buffer] for o in plan.outputs]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("name", NAMES)
def test_close_to_float64(name: str, isa: str, precision: str) -> None:
    graph = CASES[name]()
    x = network_input(graph, precision)
    assert_close(outputs(graph, x, isa, precision), *truth_and_bounds(graph, precision, x))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", NAMES)
def test_threads_and_batches(name: str, isa: str, precision: str) -> None:
    graph = CASES[name]()
    x = network_input(graph, precision, batch=5)
    truth = outputs(graph, x, isa, precision)
    for threads in (2, 3, 7):
        for got, want in zip(outputs(graph, x, isa, precision, threads), truth, strict=True):
            assert torch.equal(got, want)
    alone = [outputs(graph, image, isa, precision, threads=2) for image in x.split(1)]
    for parts, want in zip(zip(*alone, strict=True), truth, strict=True):
        assert torch.equal(torch.cat(parts), want)


@pytest.mark.parametrize("algorithm", ["direct", "F(4, 3) vertical", "F(2x2, 3x3)", "F(6x6, 3x3)"])
def test_behind_every_convolution(algorithm: str, isa: str) -> None:
    """The function follows the residual; where a tile's outputs are computed anew, it follows them once."""
    build = Build(16, 13, 11)
    copy = build.affine("x", relu=True)
    residual = build.conv(copy, 40)
    last = build.conv(copy, 40, (3, 3), bias=True, residual=residual)
    op = build.nodes[-1].op
    assert isinstance(op, ir.Conv2d)
    segments = (ir.Segment(23, False, Activation("silu")), ir.Segment(17, False, Activation("tanh")))
    build.nodes[-1] = ir.Node(last, replace(op, segments=segments), build.nodes[-1].inputs)
    graph = build.graph(build.slice(last, 0, 23), build.slice(last, 23, 17))
    x = network_input(graph)
    x[0, 3, 2, 2] = 1e6
    plan, constants = lowered(graph, "fp32")
    assert make_native(plan, constants, isa, algorithm=algorithm).report()[-1].algorithm == algorithm
    for got, want in zip(outputs(graph, x, isa, algorithm=algorithm), interpret(graph, x.double()), strict=True):
        # Of each pixel, beside which none of the large ones would count.
        assert ((got.double() - want).norm(dim=1) <= 3e-5 * want.norm(dim=1)).all()


@pytest.mark.parametrize("mode", [ir.AdaptiveAvgPool, ir.AdaptiveMaxPool])
def test_adaptive_pools_of_integers(mode: type, isa: str) -> None:
    rng = random.Random(0)
    for _ in range(60):
        size, out = (rng.randint(1, 17), rng.randint(1, 17)), (rng.randint(1, 9), rng.randint(1, 20))
        build = Build(rng.choice([1, 5, 16, 35]), *size)
        graph = build.graph(build.node(mode(out), "x"))
        x = torch.randint(-9, 10, (2, build.channels("x"), *size)).float()
        want = torch.empty(*x.shape[:2], *out)
        for i in range(out[0]):
            for j in range(out[1]):
                rows, columns = (
                    slice(k * s // n, -(-(k + 1) * s // n)) for k, s, n in zip((i, j), size, out, strict=True)
                )
                part = x[:, :, rows, columns].double().flatten(2)
                want[:, :, i, j] = part.mean(-1) if mode is ir.AdaptiveAvgPool else part.amax(-1)
        # Without a fused multiply-add an average is rounded twice.
        (got,) = outputs(graph, x, isa, threads=rng.choice([1, 3]))
        torch.testing.assert_close(got, want, rtol=1.5e-7 if mode is ir.AdaptiveAvgPool else 0, atol=0)


def test_softmax_of_extremes(isa: str) -> None:
    """Shifted by the largest, whatever the sign; a NaN or an infinity spoils its own pixel and no other."""
    build = Build(53, 3, 4)
    graph = build.graph(*(build.node(ir.Softmax(log), "x") for log in (False, True)))
    x = torch.randn(2, 53, 3, 4)
    x[0, :, 0, 0] -= 3e4
    x[0, :, 0, 1] = -1e38
    x[0, 52, 0, 2] = 3e38
    x[0, 7, 1, 0], x[0, 52, 1, 1] = float("nan"), float("inf")
    x[0, 9, 1, 2], x[0, :, 1, 3] = -float("inf"), -float("inf")
    probabilities, logarithms = outputs(graph, x, isa)
    torch.testing.assert_close(
        probabilities.double(), functional.softmax(x.double(), 1), rtol=1e-5, atol=1e-37, equal_nan=True
    )
    torch.testing.assert_close(
        logarithms.double(), functional.log_softmax(x.double(), 1), rtol=1e-6, atol=1e-6, equal_nan=True
    )


def test_softmax_of_many_channels(isa: str) -> None:
    build = Build(100_003, 1, 1)
    graph = build.graph(build.node(ir.Softmax(False), build.flat("x")))
    x = torch.randn(2, 100_003, 1, 1)
    truth = functional.softmax(x.double().flatten(1), 1)
    assert_close(outputs(graph, x, isa), [truth], [2e-7])
    assert (outputs(graph, x, isa)[0].double().sum(1) - 1).abs().max() < 1e-7
