"""What is measured by backward passes, against noise that is really added."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from inception_fast.graph import ir
from inception_fast.graph.capture import capture
from inception_fast.graph.passes import optimize_graph
from inception_fast.lowering import sensitivity as measured
from inception_fast.lowering.sensitivity import (
    FLOOR,
    SUM_ROUNDING,
    Surroundings,
    convolution_names,
    probes,
    sensitivities,
)
from inception_fast.plan.plan import MOST_SENSITIVE, Sensitivity
from tests.backends.cases import CASES
from tests.graph.build import Build


class Options:
    """Passes as the CPU backend wants them, but for pairs where asked for."""

    merge_siblings, merge_taps, fuse_functions = True, False, True

    def __init__(self, pair: bool = False) -> None:
        self.pair = pair


class Branches(nn.Module):
    """Two branches with activations, one of which is nearly cancelled by a third."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.left, self.right = nn.Conv2d(8, 6, (1, 3), padding=(0, 1)), nn.Conv2d(8, 6, 1)
        self.twin = nn.Conv2d(8, 6, 1)
        with torch.no_grad():
            self.twin.weight.copy_(self.right.weight + 0.01 * torch.randn(6, 8, 1, 1))
            self.twin.bias.copy_(self.right.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        return torch.cat([torch.relu(self.left(x)), self.right(x) - self.twin(x)], 1)


def unmerged(model: nn.Module, size: int = 16) -> ir.Graph:
    """As captured; of networks whose convolutions need no pass to be lowered."""
    return capture(model.eval(), torch.zeros(1, 3, size, size)).graph


def by_noise(model: Branches, part: nn.Conv2d, x: torch.Tensor, relative: float) -> float:
    """Relative error where noise is added to the sums of a convolution, over the noise, by experiment."""
    source: list[torch.Tensor] = []
    spy = part.register_forward_pre_hook(lambda _, args: source.append(args[0]))
    truth = model(x)
    spy.remove()
    energies = source[0].square().mean((0, 2, 3))
    scale = (part.weight.square().sum((2, 3)) @ energies).sqrt().view(1, -1, 1, 1)
    hook = part.register_forward_hook(lambda _, args, out: out + relative * scale * torch.randn_like(out))
    square = sum(((model(x) - truth).norm() / truth.norm()).square().item() for _ in range(60)) / 60
    hook.remove()
    return math.sqrt(square) / relative


@torch.no_grad()
def test_noise_grows_as_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = Branches().eval()
    # Smooth sources vary less than they are large; the experiment knows of the latter only.
    monkeypatch.setattr(measured, "_variation", measured._energy)
    monkeypatch.setattr(measured, "VECTORS", 100)
    graph = unmerged(model)
    found = sensitivities(graph, graph, torch.float32)
    images = [x.double() for x in probes(graph)]
    model = model.double()
    for name, part in (("stem", model.stem), ("left", model.left), ("right", model.right), ("twin", model.twin)):
        node = next(n for n in convolution_names(graph) if n.startswith(name))
        expected = max(by_noise(model, part, x, 1e-6) for x in images) / FLOOR[torch.float32]
        assert found[node].noise == pytest.approx(expected, rel=0.2), name


@torch.no_grad()
def test_what_eager_loses_is_the_budget_of_networks_that_lose_much(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = Branches()
    with torch.no_grad():
        model.twin.weight.copy_(model.right.weight + 1e-5 * torch.randn(6, 8, 1, 1))
        model.left.weight.mul_(1e-6)
        model.left.bias.zero_()
    graph = unmerged(model)
    monkeypatch.setattr(measured, "_variation", measured._energy)
    found = sensitivities(graph, graph, torch.float32)
    # Noise as large as that of the sums uses up everything.
    weights = {n: graph.params[graph.by_name[n].op.weight][0].numel() for n in found}  # type: ignore[attr-defined]
    used = sum((s.noise * SUM_ROUNDING) ** 2 * weights[name] for name, s in found.items())
    assert 0.99 < used < 2.01, "the largest shares of two images together"


@torch.no_grad()
def test_wrong_weights_of_a_steady_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their error is the same at every pixel, so that the average over these keeps it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.AdaptiveAvgPool2d(1)).eval()
    x = 30 + torch.randn(1, 3, 12, 12)
    monkeypatch.setattr(measured, "VECTORS", 100)
    monkeypatch.setattr(measured, "probes", lambda graph: [x])
    graph = unmerged(model, 12)
    found = sensitivities(graph, graph, torch.float32)
    model, square = model.double(), 0.0
    weight, truth = model[0].weight.clone(), model(x.double())
    for _ in range(60):
        model[0].weight.copy_(weight * (1 + 1e-6 * torch.randn_like(weight)))
        square += ((model(x.double()) - truth).norm() / truth.norm()).square().item() / 60
    expected = math.sqrt(square) / 1e-6 / FLOOR[torch.float32]
    assert found.popitem()[1].weights == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("pair", [True, False])
def test_every_convolution_of_a_lowered_graph(name: str, pair: bool) -> None:
    graph = CASES[name]()
    found = sensitivities(graph, graph, torch.float32)
    assert list(found) == convolution_names(graph)
    half = sensitivities(graph, graph, torch.bfloat16)
    for s in (*found.values(), *half.values()):
        assert 0 <= s.noise <= MOST_SENSITIVE and 0 <= s.weights <= MOST_SENSITIVE


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_same_whoever_asks(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = Branches()
    graph = unmerged(model)
    prepared, _ = optimize_graph(graph, Options())
    found = sensitivities(graph, prepared, dtype)
    with torch.inference_mode():
        copied = ir.Graph(graph.nodes, graph.outputs, {k: v.clone() for k, v in graph.params.items()})
        assert sensitivities(copied, optimize_graph(copied, Options())[0], dtype) == found
    torch.manual_seed(5)
    with torch.no_grad():
        assert sensitivities(graph, prepared, dtype) == found


def test_networks_of_which_nothing_can_be_measured() -> None:
    conv = nn.Conv2d(3, 4, 3)
    with torch.no_grad():
        conv.weight.zero_()
        conv.bias.zero_()
    dead = unmerged(nn.Sequential(conv))
    assert set(sensitivities(dead, dead, torch.float32).values()) == {Sensitivity(0.0, 0.0)}
    with torch.no_grad():
        conv.weight.fill_(float("inf"))
    wild = unmerged(nn.Sequential(conv))
    assert {s.noise for s in sensitivities(wild, wild, torch.float32).values()} == {MOST_SENSITIVE}


@pytest.mark.parametrize("flat", [False, True])
def test_large_images_are_measured_small(flat: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the network takes smaller ones; one with a linear layer over its pixels does not."""
    monkeypatch.setattr(measured, "MOST_SIDE", 20)
    sizes = []
    real = measured.probes

    def spy(graph: ir.Graph) -> object:
        sizes.append(graph.shapes[graph.input.name][1:])
        return real(graph)

    monkeypatch.setattr(measured, "probes", spy)
    layers: list[nn.Module] = [nn.Conv2d(3, 4, 3)]
    if flat:
        layers += [nn.Flatten(), nn.Linear(4 * 38 * 38, 2)]
    graph = unmerged(nn.Sequential(*layers), 40)
    found = sensitivities(graph, graph, torch.float32)
    assert sizes == ([(40, 40)] if flat else [(20, 20)])
    assert all(s.noise > 0 for s in found.values())


@pytest.mark.parametrize("out", [1, 2])
def test_one_pixel(out: int) -> None:
    """Nothing is estimated of outputs of as few elements as there are random vectors."""
    build = Build(3, 1, 1)
    build.conv("x", out, name="conv")
    network, x = build.graph(), torch.tensor([0.5, -2.0, 1.0]).view(1, 3, 1, 1)
    floor = FLOOR[torch.float32]
    terms = network.params["p0"].flatten(1) * x.flatten()
    whole = terms.square().sum().sqrt() / terms.sum(1).norm() / floor
    place = Surroundings((x,))
    found = sensitivities(network, network, torch.float32, None, place)["conv"]
    assert found.noise == pytest.approx(whole.item(), rel=1e-5)
    assert found.weights == pytest.approx(whole.item(), rel=1e-5)
    # All that half precision rounds are three weights, and the result.
    unit = 0.41 * 2**-8
    budget = unit * math.sqrt((terms.square().sum() / terms.sum(1).square().sum()).item() + 1)
    half = sensitivities(network, network, torch.bfloat16, None, place)["conv"]
    assert half.weights == pytest.approx(whole.item() * floor / budget, rel=1e-5)
