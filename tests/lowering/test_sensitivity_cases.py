"""Sensitivities of networks of one or two layers, of which a formula, or PyTorch's own rounding, tells the truth."""

from __future__ import annotations

import math

import pytest
import torch

from inception_fast.graph import ir
from inception_fast.graph.interpreter import interpret
from inception_fast.lowering import sensitivity as measured
from inception_fast.lowering.sensitivity import MeasuredBefore, Surroundings, sensitivities
from inception_fast.plan.plan import MOST_SENSITIVE, Sensitivity
from tests.graph.build import Build
from tests.graph.check import relative_error

FLOOR = 6e-6


def single(out: int, *shape: int, padding: tuple[int, int, int, int] = (0, 0, 0, 0)) -> ir.Graph:
    """A convolution of 1x1."""
    build = Build(*shape)
    build.conv("x", out, padding=padding, name="conv")
    return build.graph()


def of(network: ir.Graph, *images: torch.Tensor, dtype: torch.dtype = torch.float32) -> Sensitivity:
    return sensitivities(network, network, dtype, None, Surroundings(images))["conv"]


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole Jacobians in place of random vectors."""
    monkeypatch.setattr(measured, "VECTORS", 1000)


@pytest.mark.parametrize(
    ("image", "padding", "varies"),
    [
        ([[3.0]], (0, 0, 0, 0), 1.0),
        ([[3.0, 3.0], [3.0, 3.0]], (0, 0, 0, 0), 0.03),
        ([[4.0, 6.0]], (0, 0, 0, 0), 2.0 / 26 / 0.68),
        ([[4.0], [6.0]], (0, 0, 0, 0), 2.0 / 26 / 0.68),
        ([[4.0, 6.0], [4.0, 6.0]], (0, 0, 0, 0), 1.0 / 26 / 0.68),
        ([[4.0, 4.0], [6.0, 6.0]], (0, 0, 0, 0), 1.0 / 26 / 0.68),
        ([[1.0, -1.0], [-1.0, 1.0]], (0, 0, 0, 0), 1.0),
        ([[4.0, 3.0]], (0, 1, 0, 0), ((16 + 1) / 4) / (25 / 3) / 0.68),
        ([[4.0, 3.0]], (0, 0, 0, 1), ((1 + 9) / 4) / (25 / 3) / 0.68),
        ([[4.0], [3.0]], (1, 0, 0, 0), ((16 + 1) / 4) / (25 / 3) / 0.68),
        ([[4.0], [3.0]], (0, 0, 1, 0), ((1 + 9) / 4) / (25 / 3) / 0.68),
    ],
)
def test_where_neighbours_are_alike_there_is_less_noise(
    image: list[list[float]], padding: tuple[int, int, int, int], varies: float, exact: None
) -> None:
    """Half the mean square of the neighbours' differences, over that of rectified white noise, which counts whole."""
    x = torch.tensor(image).view(1, 1, len(image), -1)
    network = single(1, 1, *x.shape[2:], padding=padding)
    output = interpret(network, x)[0]
    # Noise as large as the weight times the source's root mean square, at every pixel.
    whole = (network.params["p0"] ** 2 * x.square().sum() / output.square().sum()).sqrt().item() / FLOOR
    rows, columns = x.shape[2] + padding[0] + padding[2], x.shape[3] + padding[1] + padding[3]
    assert output.shape[2:] == (rows, columns)
    assert of(network, x).noise == pytest.approx(whole * math.sqrt(varies), rel=1e-5)


def test_rectified_noise_counts_whole() -> None:
    x = torch.randn(1, 3, 60, 50, generator=torch.Generator().manual_seed(0)).relu()
    network = single(1, 3, 60, 50)
    found = of(network, x).noise
    whole = network.params["p0"].flatten().square() @ x.square().mean((0, 2, 3))
    truth = (whole / interpret(network, x)[0].square().mean()).sqrt().item() / FLOOR
    assert found == pytest.approx(truth, rel=0.03)


@pytest.mark.parametrize("shape", [(64, 1), (256, 1), (32, 3), (128, 3)])
def test_what_float32_loses(shape: tuple[int, int]) -> None:
    """By PyTorch's own sums, however they are ordered; the budget is that where next to nothing else is allowed."""
    channels, kernel = shape
    build = Build(channels, 14, 14)
    build.conv("x", 32, (kernel, kernel), name="conv")
    network, x = build.graph(), torch.randn(1, channels, 14, 14, generator=torch.Generator().manual_seed(0))
    eager = relative_error(interpret(network, x, torch.float32)[0].double(), interpret(network, x)[0])
    found = sensitivities(network, network, torch.float32, None, Surroundings((x,), 1e9))["conv"].noise
    # Of white noise all the terms vary: noise as large as they are is one as large as the result.
    assert 0.4 < found * eager < 2.5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_what_half_precision_loses(dtype: torch.dtype) -> None:
    """By PyTorch's own rounding of every value and weight, against weights that are wrong by more."""
    build = Build(16, 14, 14)
    stem = build.conv("x", 32, (3, 3), relu=True, name="stem")
    build.add(build.conv(stem, 32, (3, 3), name="wide"), build.conv(stem, 32, name="narrow"))
    network = build.graph()
    x = torch.randn(1, 16, 14, 14, generator=torch.Generator().manual_seed(0)).to(dtype).float()
    truth = interpret(network, x)[0]
    eager = relative_error(interpret(network, x, dtype)[0].double(), truth)
    found, random = sensitivities(network, network, dtype, None, Surroundings((x,))), torch.Generator().manual_seed(1)
    for name, weight in (("stem", "p0"), ("wide", "p1"), ("narrow", "p2")):
        square = 0.0
        for _ in range(20):
            exact = network.params[weight].double()
            wrong = exact * (1 + 1e-6 * torch.randn(exact.shape, generator=random, dtype=torch.float64))
            changed = ir.Graph(network.nodes, network.outputs, {**network.params, weight: wrong})
            square += (relative_error(interpret(changed, x)[0], truth) / 1e-6) ** 2 / 20
        assert found[name].weights == pytest.approx(math.sqrt(square) / eager, rel=0.2)


def test_what_the_original_rounds_is_the_budget_of_half_precision() -> None:
    """Passes have taken a step away: PyTorch's rounding of it is there to be used up."""
    build = Build(3, 1, 1)
    build.conv("x", 1, name="conv")
    prepared = build.graph()
    build.node(ir.Affine(build.param(1), build.param(1)), "conv", name="scaled")
    original = build.graph()
    original.params.update(p1=torch.ones(1), p2=torch.zeros(1))
    x = torch.tensor([0.5, -2.0, 1.0]).view(1, 3, 1, 1)
    found = sensitivities(original, prepared, torch.float16, None, Surroundings((x,)))["conv"]
    terms = prepared.params["p0"].flatten() * x.flatten()
    each = (terms.square().sum() / terms.sum().square()).item()
    # Two values of the output's size, and the weights.
    assert found.weights == pytest.approx(math.sqrt(each / (each + 2)) / (0.41 * 2**-11), rel=1e-5)


def test_an_output_of_zeros_says_nothing(exact: None) -> None:
    build = Build(3, 4, 4)
    build.conv("x", 2, name="conv")
    alone = build.graph()
    build.params[build.param(2)] = torch.zeros(2)
    dead = build.node(ir.Affine("p1", "p1"), "conv", name="dead")
    x = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    for dtype in (torch.float32, torch.bfloat16):
        both = sensitivities(build.graph("conv", dead), build.graph("conv", dead), dtype, None, Surroundings((x,)))
        assert both["conv"].noise == pytest.approx(of(alone, x, dtype=dtype).noise, rel=1e-5)
        nothing = sensitivities(build.graph(dead), build.graph(dead), dtype, None, Surroundings((x,)))
        assert nothing == {"conv": Sensitivity(0.0, 0.0)}


def test_an_output_that_no_convolution_reaches() -> None:
    build = Build(3, 4, 4)
    build.conv("x", 2, name="conv")
    network = build.graph("x", "conv")
    x = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    for dtype in (torch.float32, torch.bfloat16):
        found = of(network, x, dtype=dtype)
        assert 0 < found.noise < MOST_SENSITIVE and 0 < found.weights < MOST_SENSITIVE


def test_a_network_without_convolutions() -> None:
    build = Build(3, 4, 4)
    build.affine("x")
    assert sensitivities(build.graph(), build.graph(), torch.float32) == {}


@pytest.mark.parametrize("value", [1e25, float("inf"), float("nan")])
def test_what_is_out_of_range_leaves_room_for_nothing(value: float) -> None:
    network = single(2, 3, 4, 4)
    network.params["p0"][0, 0] = value
    x = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 1e25
    found = of(network, x)
    assert found.noise == found.weights == MOST_SENSITIVE


def test_what_was_measured_before_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What decides a sensitivity tells measurements apart."""
    count, real = [], measured._sensitivities
    monkeypatch.setattr(measured, "_sensitivities", lambda *rest: count.append(rest) or real(*rest))
    build = Build(3, 4, 4)
    build.conv("x", 2, name="conv")
    build.affine("conv", name="scaled")
    network = build.graph()
    known: MeasuredBefore = {}
    first = sensitivities(network, network, torch.float32, known)
    again = ir.Graph(network.nodes, network.outputs, {k: v.clone() for k, v in network.params.items()})
    assert sensitivities(again, again, torch.float32, known) == first and len(count) == len(known) == 1
    assert first == sensitivities(network, network, torch.float32) and len(count) == 2

    def is_new(original: ir.Graph, prepared: ir.Graph, dtype: torch.dtype = torch.float32) -> None:
        before = len(known)
        found = sensitivities(original, prepared, dtype, known)
        assert len(known) == before + 1 and found == sensitivities(original, prepared, dtype)

    is_new(network, network, torch.bfloat16)
    is_new(network, network, torch.float16)
    other = dict(network.params, p0=network.params["p0"].flip(1))
    changed = ir.Graph(network.nodes, network.outputs, other)
    is_new(changed, changed)
    shorter = build.graph("conv")
    is_new(shorter, shorter)
    is_new(network, shorter)
    # A part of a larger network is measured where it is.
    before = len(count)
    place = Surroundings(amplification=2.0)
    twice = sensitivities(network, network, torch.float32, known, place)["conv"]
    assert len(count) == before + 1 and twice.noise == pytest.approx(2 * first["conv"].noise)
    assert len(known) == 6


@pytest.mark.parametrize("size", [(24, 12), (12, 24), (24, 24), (20, 12)])
def test_a_large_part_is_measured_on_the_corner_of_its_images(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "MOST_SIDE", 20)
    build = Build(3, *size)
    build.conv("x", 2, (3, 3), name="conv")
    x = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    height, width = min(size[0], 20), min(size[1], 20)
    corner = Build(3, height, width)
    corner.conv("x", 2, (3, 3), name="conv")
    outside = x.clone()
    outside[:, :, height:], outside[..., width:] = float("nan"), float("nan")
    assert of(build.graph(), outside) == of(corner.graph(), x[:, :, :height, :width])
    # Where there are no images of its own, on those that are made for the smaller one.
    assert sensitivities(build.graph(), build.graph(), torch.float32) == sensitivities(
        corner.graph(), corner.graph(), torch.float32
    )


def test_alone_the_images_are_those_of_the_network() -> None:
    """The largest of every image's."""
    build = Build(3, 8, 8)
    build.conv("x", 4, (3, 3), bias=True, relu=True, name="conv")
    network = build.graph()
    each = [of(network, x) for x in measured.probes(network)]
    found = sensitivities(network, network, torch.float32)["conv"]
    assert found == Sensitivity(max(s.noise for s in each), max(s.weights for s in each))
    # Weights that lie in float64, as folding leaves them, are those of float32.
    folded = ir.Graph(network.nodes, network.outputs, {k: v.double() for k, v in network.params.items()})
    assert sensitivities(network, folded, torch.float32)["conv"] == found
