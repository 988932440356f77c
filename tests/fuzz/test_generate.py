"""The generator itself: what it draws, and that a description, its module and its Graph are one network."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inception_fast.bench.accuracy import flatten
from inception_fast.graph.capture import capture
from inception_fast.graph.interpreter import interpret
from tests.fuzz import description as d
from tests.fuzz.as_graph import as_graph
from tests.fuzz.generate import TINY, generate
from tests.fuzz.module import module

SEEDS = range(100)
LAYERS = {kind for kind in vars(d).values() if isinstance(kind, type) and issubclass(kind, d.Layer)} - {d.Layer}


def drawn(exact: bool = False) -> list[d.Layer]:
    return [layer for seed in SEEDS for layer in d.all_layers(generate(seed, exact=exact).layers)]


def test_a_seed_gives_the_network_that_its_text_makes() -> None:
    for seed in SEEDS[:20]:
        network = generate(seed, exact=seed % 2 == 0)
        assert network == generate(seed, exact=seed % 2 == 0)
        assert eval(repr(network), vars(d)) == network
    assert generate(1) != generate(2)


def test_every_layer_is_drawn_in_its_forms() -> None:
    layers = drawn()
    assert {type(layer) for layer in layers} == LAYERS
    convs = [layer for layer in layers if isinstance(layer, d.Conv)]
    pools = [layer for layer in layers if isinstance(layer, d.Pool)]
    forms: list[Any] = [
        [c.stride[0] != c.stride[1] for c in convs],
        [c.padding[:2] != c.padding[2:] for c in convs],
        [c.dilation != (1, 1) for c in convs],
        [c.kernel[0] % 2 == 0 for c in convs],
        [p.ceil and p.mode == "max" for p in pools],
        [p.ceil and p.mode == "avg" and not p.count_pad for p in pools],
        [p.stride > p.kernel for p in pools],
        [any(isinstance(inner, d.Concat) for path in x.chains() for inner in path) for x in layers if x.chains()],
    ]
    assert all(any(form) for form in forms)
    assert {generate(seed).returns for seed in SEEDS} == {"last", "tuple", "list", "dict", "namedtuple"}


def test_tiny_networks_are_tiny() -> None:
    networks = [generate(seed, TINY) for seed in SEEDS]
    convs = [sum(isinstance(layer, d.Conv) for layer in d.all_layers(n.layers)) for n in networks]
    assert max(max(n.image) for n in networks) <= TINY.channels and sum(convs) <= 2 * TINY.convs * len(networks)


@pytest.mark.parametrize("exact", [False, True])
@torch.no_grad()
def test_module_and_graph_agree(exact: bool) -> None:
    """In float64; a network of integers gives them in float32 as well, whatever the order of PyTorch's sums."""
    for seed in SEEDS[:50]:
        network = generate(seed, exact=exact)
        net, x = module(network)
        in_float32 = flatten(net(x))
        graph = as_graph(network, net)
        truth = flatten(net.double()(x.double()))
        for got, single, want in zip(interpret(graph, x.double()), in_float32, truth, strict=True):
            assert got.shape == want.shape
            if exact:
                assert torch.equal(single, want) and torch.equal(got, want), network
            else:
                assert (got - want).norm() <= 1e-12 * want.norm(), network


@torch.no_grad()
def test_an_offset_is_what_normalisations_take_away() -> None:
    network = d.Network((3, 6, 5), (d.Conv(4, (3, 3)), d.Norm(False)), batch=5, offset=100.0)
    net, x = module(network)
    assert abs(x.mean() - 100) < 1
    result = net(x)
    assert result.mean((0, 2, 3)).abs().max() < 1e-2 and (result.var((0, 2, 3)) - 1).abs().max() < 1e-2
    for alone in ((d.Norm(),), (d.Resize((4, 4), True), d.Norm())):
        with pytest.raises(d.Invalid):
            module(d.Network((3, 1, 1), alone, offset=1.0))


@torch.no_grad()
def test_captured_graph_agrees() -> None:
    for seed in SEEDS[:3]:
        network = generate(seed)
        net, x = module(network)
        graph = capture(net, x).graph
        for got, want in zip(interpret(graph, x.double()), flatten(net.double()(x.double())), strict=True):
            assert (got - want).norm() <= 1e-12 * want.norm(), network


@pytest.mark.parametrize(
    "layers",
    [
        (d.Pool("avg", (3, 3)),),
        (d.Resize((4, 4)),),
        (d.GlobalPool("mean"), d.Unit()),
        (d.Sum((), (), 0.17),),
        (d.Affine(True),) * 80,
    ],
)
def test_what_is_not_exact_is_refused(layers: d.Chain) -> None:
    d.Network((3, 9, 9), layers).check()
    with pytest.raises(d.Invalid):
        module(d.Network((3, 9, 9), layers, exact=True))


@pytest.mark.parametrize(
    "network",
    [
        d.Network((3, 4, 4), ()),
        d.Network((3, 4, 4), (d.Dropout(), d.Tap()), returns="tuple"),
        d.Network((3, 4, 4), (d.Relu(), d.Tap())),
        d.Network((3, 4, 4), (d.Conv(2, (5, 1)),)),
        d.Network((3, 4, 4), (d.Pool("max", (5, 5)),)),
        d.Network((3, 4, 4), (d.Flat(),)),
        d.Network((3, 4, 4), (d.Concat(((d.Relu(),), (d.Pool("max", (2, 2)),))),)),
        d.Network((3, 4, 4), (d.Sum((), (d.Conv(4),)),)),
        d.Network((3, 4, 4), (d.Narrow(2, 2),)),
        d.Network((3, 4, 4), (d.Resize((400, 400)),)),
    ],
)
def test_what_does_not_fit_is_refused(network: d.Network) -> None:
    with pytest.raises(d.Invalid):
        module(network)
