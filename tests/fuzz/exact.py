"""Whether a network computes with numbers that float32 adds exactly, whatever the order."""

from __future__ import annotations

from math import log2, prod

import torch
from torch import Tensor, nn

from tests.fuzz import description as d

BITS = 24
"""Of float32's significand."""


def halvings(network: d.Network) -> int:
    """By how many powers of two all divisions of a network together refine its numbers.

    Raises:
        Invalid: something divides by another number.
    """
    return sum(_halvings(network.layers, network.image))


def _halvings(chain: d.Chain, shape: d.Shape) -> list[int]:
    found = []
    for layer in chain:
        match layer:
            case d.Pool(mode="avg"):
                d.require(not layer.ceil and (layer.count_pad or layer.padding == (0, 0)), "all windows are whole")
                found.append(_power(prod(layer.kernel)))
            case d.GlobalPool(kind="adaptive" | "mean"):
                found.append(_power(prod(shape[1:])))
            case d.AdaptivePool():
                found.append(_power(prod(shape[1:]) // prod(layer.size)))
            case d.Sum():
                found.append(abs(_power(layer.scale)))
            case d.Resize() | d.Unit():
                raise d.Invalid(f"{layer} rounds")
        for inner in layer.chains():
            found += _halvings(inner, shape)
        shape = layer.shape(shape)
    return found


def _power(number: float) -> int:
    exponent = round(log2(number))
    d.require(2.0**exponent == number, "a divisor is a power of two")
    return exponent


def first_terms(network: d.Network) -> int:
    """How many products a sum may have, by the length of the longest way through the network; a guess to start from."""
    halvings(network)
    return max(2, int(2 ** ((BITS - 4) / max(1, _depth(network.layers)))))


def _depth(chain: d.Chain) -> int:
    inner = (max(map(_depth, layer.chains()), default=0) for layer in chain)
    return sum(inner) + sum(isinstance(layer, d.Conv | d.Linear) for layer in chain)


@torch.no_grad()
def magnitude(network: d.Network, net: nn.Module, x: Tensor) -> float:
    """A bound on every partial sum: the network of absolute values, of which no sum can cancel.

    An average pool's sum is larger than its average, and behind the pass that moves it the sum is another one; so the
    largest window counts for all. The parameters of ``net`` are lost.
    """
    net = net.double()
    largest = float(x.abs().max())
    for name, value in [*net.named_parameters(), *net.named_buffers()]:
        if value.is_floating_point() and not name.endswith("running_var"):
            value.copy_(-value.abs() if name.endswith("running_mean") else value.abs())

    def look(_module: nn.Module, _arguments: object, result: object) -> None:
        nonlocal largest
        if isinstance(result, Tensor):
            largest = max(largest, float(result.abs().max()))

    for part in net.modules():
        part.register_forward_hook(look)
    net(x.double().abs())
    return largest * max((_window(layer, network) for layer in d.all_layers(network.layers)), default=1)


def _window(layer: d.Layer, network: d.Network) -> int:
    if isinstance(layer, d.Pool) and layer.mode == "avg":
        return prod(layer.kernel)
    return prod(network.image[1:]) if isinstance(layer, d.GlobalPool | d.AdaptivePool) else 1


def is_exact(network: d.Network, net: nn.Module, x: Tensor) -> bool:
    """Whether every partial sum is a multiple of one power of two, and less than 2**24 of it; ``net`` is used up.

    Raises:
        Invalid: no choice of integers makes it so.
    """
    return magnitude(network, net, x) * 2.0 ** halvings(network) < 2.0**BITS
