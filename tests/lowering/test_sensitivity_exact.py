"""What is measured by backward passes, against whole Jacobians in float64 of a network with a layer of every kind."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F

from inception_fast.activation import Activation
from inception_fast.graph import ir
from inception_fast.lowering import sensitivity as measured
from inception_fast.lowering.sensitivity import Surroundings, sensitivities
from tests.graph.build import Build

FLOOR = 6e-6
SUM_ROUNDING = 0.21 * 2.0**-24
ROUNDED = 0.41
"""Root mean square of what rounding takes, in half units of what the dtype tells apart."""
Values = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Layer:
    """A convolution: its parameter's name, what it reads, and padding (left, right, top, bottom)."""

    weight: str
    source: str
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)


LAYERS = {
    "stem": Layer("stem", "x", (0, 1, 1, 0)),
    "left": Layer("left", "a"),
    "right.first": Layer("first", "c", (1, 1, 0, 0)),
    "right.second": Layer("second", "middle", (0, 0, 1, 1)),
}


def graph() -> ir.Graph:
    """Segments with and without a ReLU, another function, steps on numbers, a pair with a residual; two outputs."""
    build = Build(3, 6, 5)
    stem = build.conv("x", (2, 3), (3, 2), padding=(1, 0, 0, 1), bias=True, name="stem")
    op = build.nodes[-1].op
    assert isinstance(op, ir.Conv2d)
    build.nodes[-1] = ir.Node(stem, replace(op, segments=(ir.Segment(2, True), ir.Segment(3))), ("x",))
    a, c = build.slice(stem, 0, 2), build.slice(stem, 2, 3)
    silu = (ir.Segment(2, activation=Activation("silu")),)
    left = build.node(ir.Conv2d(build.param(2, 2, 1, 1), None, (1, 1), (0,) * 4, (1, 1), silu), a, name="left")
    first = ir.Conv2d(build.param(3, 3, 1, 3), None, (1, 1), (0, 1, 0, 1), (1, 1), (ir.Segment(3, True),))
    second = ir.Conv2d(build.param(2, 3, 3, 1), build.param(2), (1, 1), (1, 0, 1, 0), (1, 1), (ir.Segment(2),))
    right = build.node(ir.ConvPair(first, second), c, left, name="right")
    scaled = build.affine(left, name="scaled")
    return build.graph(scaled, build.node(ir.AdaptiveAvgPool((1, 1)), right, name="pooled"))


def parameters(network: ir.Graph) -> Values:
    names = ("stem", "bias", "left", "first", "second", "offset", "scale", "shift")
    return {n: p.double() for n, p in zip(names, network.params.values(), strict=True)}


def forward(x: torch.Tensor, p: Values, added: Values) -> tuple[list[torch.Tensor], Values]:
    """The outputs, and every value, with what is ``added`` to them before an activation."""
    v = {"x": x}

    def value(name: str, computed: torch.Tensor) -> torch.Tensor:
        v[name] = computed + added[name] if name in added else computed
        return v[name]

    def conv(name: str, bias: str = "") -> torch.Tensor:
        layer = LAYERS[name]
        return F.conv2d(F.pad(v[layer.source], layer.padding), p[layer.weight], p[bias] if bias else None)

    stem = value("stem", conv("stem", "bias"))
    v["a"], v["c"] = stem[:, :2].relu(), stem[:, 2:]
    left = F.silu(value("left", conv("left")))
    v["middle"] = value("right.first", conv("right.first")).relu()
    right = value("right.second", conv("right.second", "offset") + left)
    scaled = value("scaled", left * p["scale"].view(-1, 1, 1) + p["shift"].view(-1, 1, 1))
    return [scaled, value("pooled", right.mean((2, 3), keepdim=True))], v


def variation(x: torch.Tensor) -> torch.Tensor:
    """By channel, from half the mean squares of differences of neighbours down and to the right."""
    down, right = x[:, :, 1:] - x[:, :, :-1], x[..., 1:] - x[..., :-1]
    varied = (down.square().mean((0, 2, 3)) / 2 + right.square().mean((0, 2, 3)) / 2) / 2
    energy = x.square().mean((0, 2, 3))
    return torch.minimum(torch.maximum(varied / 0.68, 0.03 * energy), energy)


class Truth:
    """Of one image."""

    def __init__(self, network: ir.Graph, x: torch.Tensor) -> None:
        self.p = parameters(network)
        outputs, self.values = forward(x.double(), self.p, {})
        self.sizes = [o.square().sum() for o in outputs]
        self.nothing = {n: torch.zeros_like(self.values[n]) for n in (*LAYERS, "scaled", "pooled")}
        made = self.jacobians(
            lambda *added: forward(x.double(), self.p, dict(zip(self.nothing, added, strict=True)))[0]
        )
        self.of_values = dict(zip(self.nothing, made(*self.nothing.values()), strict=True))
        weights = [layer.weight for layer in LAYERS.values()]
        made = self.jacobians(
            lambda *given: forward(x.double(), {**self.p, **dict(zip(weights, given, strict=True))}, {})[0]
        )
        self.of_weights = dict(zip(LAYERS, made(*(self.p[w] for w in weights)), strict=True))

    def jacobians(self, function: Callable[..., list[torch.Tensor]]) -> Callable[..., list[list[torch.Tensor]]]:
        """By argument, then by output: ``[elements of the output, *shape of the argument]``."""

        def made(*arguments: torch.Tensor) -> list[list[torch.Tensor]]:
            whole = torch.autograd.functional.jacobian(lambda *a: tuple(function(*a)), arguments)
            return [[j[i].flatten(0, 3) for j in whole] for i in range(len(arguments))]

        return made

    def arriving(self, name: str, energies: torch.Tensor) -> list[float]:
        """Squares of relative errors of the outputs by noise on the sums of a convolution as large as its terms are,
        these being ``[C_in]``.
        """
        channels = self.p[LAYERS[name].weight].square().sum((2, 3)) @ energies
        return [
            (j.square().sum((0, 1, 3, 4)) @ channels / size).item()
            for j, size in zip(self.of_values[name], self.sizes, strict=True)
        ]

    def source(self, name: str) -> torch.Tensor:
        return F.pad(self.values[LAYERS[name].source], LAYERS[name].padding)

    def of_sums(self, name: str) -> list[float]:
        return self.arriving(name, variation(self.source(name)))

    def direct(self) -> list[float]:
        """Squares of the errors of float32's sums."""
        each = []
        for name, layer in LAYERS.items():
            terms = self.p[layer.weight][0].numel()
            noise = self.arriving(name, self.source(name).square().mean((0, 2, 3)))
            each.append([SUM_ROUNDING**2 * terms * n for n in noise])
        return [sum(squares) for squares in zip(*each, strict=True)]

    def steady(self, name: str) -> list[float]:
        """Squares of the errors by wrong weights over the source's means."""
        squares = self.p[LAYERS[name].weight].square().sum((2, 3))
        means = self.values[LAYERS[name].source].mean((0, 2, 3)).square()
        return [
            (j.sum((1, 3, 4)).square().sum(0) @ squares @ means / size).item()
            for j, size in zip(self.of_values[name], self.sizes, strict=True)
        ]

    def wrong_weights(self, name: str) -> list[float]:
        weight = self.p[LAYERS[name].weight]
        return [
            ((j * weight).square().sum() / size).item()
            for j, size in zip(self.of_weights[name], self.sizes, strict=True)
        ]

    def rounded(self, unit: float) -> list[float]:
        """Squares of the errors where every value and every weight is wrong by ``unit``."""
        stored = {**self.values, "stem": torch.cat([self.values["a"], self.values["c"]], 1)}
        stored["right.first"] = self.values["middle"]
        found = []
        for i, size in enumerate(self.sizes):
            total = sum((j[i] * stored[name]).square().sum() for name, j in self.of_values.items())
            total += sum(self.wrong_weights(name)[i] * size for name in LAYERS)
            found.append((unit**2 * total / size).item())
        return found


def images() -> tuple[torch.Tensor, ...]:
    """A smooth one, and one that is zero in places."""
    generator = torch.Generator().manual_seed(3)
    smooth = torch.randn(1, 3, 1, 1, generator=generator) + 0.3 * torch.randn(1, 3, 6, 5, generator=generator)
    noise = torch.randn(1, 3, 6, 5, generator=generator)
    return smooth, 4 * noise.where(noise > 0, 0.0)


@pytest.fixture(autouse=True)
def whole_jacobians(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of random vectors."""
    monkeypatch.setattr(measured, "VECTORS", 1000)


Squares = Callable[..., list[float]]


def worst(truths: list[Truth], squares: Squares, budgets: Squares, name: str) -> float:
    """Of all images and outputs."""
    return math.sqrt(max(s / b for t in truths for s, b in zip(squares(t, name), budgets(t), strict=True)))


@pytest.mark.parametrize("amplification", [1.0, 50.0, 1e9])
@pytest.mark.parametrize("count", [1, 2])
def test_single_precision(amplification: float, count: int) -> None:
    """The budget is the floor, or what float32's sums lose where that is more: of a large part behind which errors
    grow.
    """
    network, place = graph(), Surroundings(images()[:count], amplification)
    found = sensitivities(network, network, torch.float32, None, place)
    truths = [Truth(network, x) for x in images()[:count]]

    def budgets(truth: Truth) -> list[float]:
        return [max(direct, (FLOOR / amplification) ** 2) for direct in truth.direct()]

    assert list(found) == list(LAYERS)
    for name, s in found.items():
        assert s.noise == pytest.approx(worst(truths, Truth.of_sums, budgets, name), rel=1e-4)
        assert s.weights == pytest.approx(worst(truths, Truth.steady, budgets, name), rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    """The budget is what rounding every value and weight makes."""
    network = graph()
    found = sensitivities(network, network, dtype, None, Surroundings(images(), 3.0))
    truths = [Truth(network, x) for x in images()]

    def budgets(truth: Truth) -> list[float]:
        return truth.rounded(ROUNDED * torch.finfo(dtype).eps / 2)

    for name, s in found.items():
        assert s.noise == pytest.approx(worst(truths, Truth.of_sums, budgets, name), rel=1e-4)
        assert s.weights == pytest.approx(worst(truths, Truth.wrong_weights, budgets, name), rel=1e-4)
