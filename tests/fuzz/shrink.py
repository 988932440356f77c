"""The smallest network that still fails: whatever can be left out or made smaller is, until nothing can."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

from tests.fuzz import description as d
from tests.fuzz.module import check

Fails = Callable[[d.Network], bool]


def shrink(network: d.Network, fails: Fails, trials: int = 600) -> d.Network:
    """The network that is left when every smaller neighbour passes, or ``trials`` have been run.

    Args:
        network: one that fails.
        fails: whether another one fails in the same way.
    """
    seen = {network}
    found = True
    while found:
        found = False
        for candidate in smaller(network):
            if candidate in seen or not _is_valid(candidate):
                continue
            if trials == 0:
                return network
            seen.add(candidate)
            trials -= 1
            if fails(candidate):
                network, found = candidate, True
                break
    return network


def _is_valid(network: d.Network) -> bool:
    try:
        check(network)
    except d.Invalid:
        return False
    return True


def smaller(network: d.Network) -> Iterator[d.Network]:
    """Neighbours, each less than the network in one way, those first that are the most less. They may be invalid."""
    for chain in _without(network.layers):
        yield _returning(replace(network, layers=chain))
    if network.returns not in ("last", "tuple"):
        yield replace(network, returns="tuple")
    if network.offset:
        yield replace(network, offset=0.0)
    if network.bytes:
        yield replace(network, bytes=False)
    for batch in _less(network.batch, 1):
        yield replace(network, batch=batch)
    for axis in range(3):
        for extent in _less(network.image[axis], 1):
            image = (*network.image[:axis], extent, *network.image[axis + 1 :])
            yield replace(network, image=image)
    for chain in _simpler_chains(network.layers):
        yield replace(network, layers=chain)
    # What several layers must have in common, they lose together.
    for width in sorted({x.channels for x in d.all_layers(network.layers) if isinstance(x, d.Conv | d.Linear)}):
        for less in _less(width, 1):
            image = (less, *network.image[1:]) if network.image[0] == width else network.image
            layers = tuple(_with_width(layer, width, less) for layer in network.layers)
            yield replace(network, layers=layers, image=image)


def _returning(network: d.Network) -> d.Network:
    """With ``returns`` as the taps that are left ask for."""
    taps = any(isinstance(layer, d.Tap) for layer in d.all_layers(network.layers))
    return network if taps else replace(network, returns="last")


def _without(chain: d.Chain) -> Iterator[d.Chain]:
    """Without a half, a quarter, ... or one of the layers; forks replaced by their paths or without one of them."""
    length = len(chain) // 2
    while length:
        for start in range(0, len(chain), length):
            yield chain[:start] + chain[start + length :]
        length //= 2
    if len(chain) == 1:
        yield ()
    for i, layer in enumerate(chain):
        for other in _replacements(layer):
            yield chain[:i] + other + chain[i + 1 :]


def _replacements(layer: d.Layer) -> Iterator[d.Chain]:
    paths = layer.chains()
    yield from paths
    if isinstance(layer, d.Concat) and len(paths) > 1:
        for i in range(len(paths)):
            yield (d.Concat(paths[:i] + paths[i + 1 :]),)
    for i, path in enumerate(paths):
        for fewer in _without(path):
            yield (_with_paths(layer, (*paths[:i], fewer, *paths[i + 1 :])),)


def _with_paths(layer: d.Layer, paths: tuple[d.Chain, ...]) -> d.Layer:
    if isinstance(layer, d.Concat | d.Product):
        return d.Concat(paths) if isinstance(layer, d.Concat) else d.Product(*paths)
    assert isinstance(layer, d.Sum)
    return d.Sum(*paths, layer.scale)


def _simpler_chains(chain: d.Chain) -> Iterator[d.Chain]:
    for i, layer in enumerate(chain):
        for other in _simpler(layer):
            yield (*chain[:i], other, *chain[i + 1 :])


def _simpler(layer: d.Layer) -> Iterator[d.Layer]:
    """One field at a time is made smaller, or what it is by default."""
    for i, path in enumerate(layer.chains()):
        for simpler in _simpler_chains(path):
            yield _with_paths(layer, (*layer.chains()[:i], simpler, *layer.chains()[i + 1 :]))
    if layer.chains():
        if isinstance(layer, d.Sum) and layer.scale != 1:
            yield replace(layer, scale=1.0)
        return
    for f in fields(layer):  # type: ignore[arg-type]
        for value in _less_of(f.name, getattr(layer, f.name)):
            yield replace(layer, **{f.name: value})  # type: ignore[type-var]
    if isinstance(layer, d.Conv):
        for kernel in _less_of("kernel", layer.kernel):
            # The size of the result stays.
            gone = [step * (a - b) for step, a, b in zip(layer.dilation, layer.kernel, kernel, strict=True)]
            top, left, bottom, right = layer.padding
            top, left = max(0, top - gone[0] // 2), max(0, left - gone[1] // 2)
            bottom, right = (max(0, bottom - gone[0] + gone[0] // 2), max(0, right - gone[1] + gone[1] // 2))
            yield replace(layer, kernel=kernel, padding=(top, left, bottom, right))
        if layer.dilation != (1, 1):
            yield replace(layer, dilation=(1, 1), padding=_same_padding(layer.kernel))
    if isinstance(layer, d.Pool) and layer.padding != (0, 0):
        yield replace(layer, kernel=(1, 1), padding=(0, 0))
        if min(layer.kernel) > 3:
            yield replace(layer, kernel=(3, 3), padding=(1, 1))
    if isinstance(layer, d.GlobalPool) and layer.kind == "mean":
        yield d.GlobalPool()


def _same_padding(kernel: d.Pair) -> d.Margins:
    top, left = (kernel[0] - 1) // 2, (kernel[1] - 1) // 2
    return (top, left, kernel[0] - 1 - top, kernel[1] - 1 - left)


LEAST = {"channels": 1, "kernel": 1, "stride": 1, "dilation": 1, "size": 1, "padding": 0, "start": 0}
LEAST |= {"groups": 1}
"""Of whole numbers and of each of a tuple of them, by the field's name."""
PLAIN = {"bias": False, "affine": False, "by_channel": False, "ceil": False, "count_pad": True, "align": False}
PLAIN |= {"flat": False, "log": False}
"""Switches as they are set in the simplest layer."""


def _less_of(name: str, value: Any) -> Iterator[Any]:
    if name in PLAIN:
        if value != PLAIN[name]:
            yield PLAIN[name]
    elif name in LEAST and isinstance(value, int):
        yield from _less(value, LEAST[name])
    elif name in LEAST:
        least = (LEAST[name],) * len(value)
        if value != least:
            yield least
        for i, item in enumerate(value):
            for less in _less(item, LEAST[name]):
                yield (*value[:i], less, *value[i + 1 :])


def _less(value: int, least: int) -> Iterator[int]:
    """The least, the half, and one less."""
    yield from sorted({least, max(least, value // 2), max(least, value - 1)} - {value})


def _with_width(layer: d.Layer, width: int, less: int) -> d.Layer:
    """Every convolution and linear layer of that many channels, with fewer."""
    if layer.chains():
        return _with_paths(
            layer, tuple(tuple(_with_width(inner, width, less) for inner in path) for path in layer.chains())
        )
    if isinstance(layer, d.Conv | d.Linear) and layer.channels == width:
        return replace(layer, channels=less)
    return layer
