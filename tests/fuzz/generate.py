"""From a seed to a network."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.fuzz import description as d
from tests.fuzz.module import check


@dataclass(frozen=True)
class Limits:
    """How large networks become.

    Attributes:
        convs: after so many of them nothing but a head is added; a motif that has begun is finished.
        depth: of branches within branches.
    """

    size: int = 15
    channels: int = 33
    convs: int = 12
    depth: int = 3
    batch: int = 4


TINY = Limits(size=7, channels=17, convs=4, depth=2, batch=2)
"""For what interprets or emulates kernels."""

CHANNELS = (1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 19, 24, 31, 32, 33)
SAME_KERNELS = ((1, 1), (1, 1), (1, 1), (3, 3), (3, 3), (5, 5), (1, 3), (3, 1), (1, 5), (1, 7), (7, 1), (2, 4), (5, 2))
ANY_KERNELS = ((1, 1), (3, 3), (2, 2), (2, 4), (5, 2), (1, 2), (3, 1), (4, 4), (7, 7), (1, 6))
STRIDES = ((1, 1), (2, 2), (2, 2), (2, 1), (1, 3), (3, 2))
WINDOWS = ((3, 3), (3, 3), (2, 2), (1, 3), (5, 4), (2, 3), (1, 1))
FUNCTIONS = (
    *(d.Activate(name) for name in ("sigmoid", "tanh", "silu", "silu", "gelu", "hardsigmoid", "hardswish", "prelu")),  # type: ignore[arg-type]
    d.Activate("elu", 0.7),
    d.Activate("leaky_relu", 0.1),
    d.Activate("clamp", 0.0, 6.0),
    d.Activate("clamp_max", 0.0, 1.5),
    d.Activate("gelu_tanh"),
)
EXACT_WINDOWS = ((2, 2), (2, 1), (1, 4), (4, 4), (1, 1))


def generate(seed: int, limits: Limits | None = None, *, exact: bool = False) -> d.Network:
    """A network that a module can be made of; the same for the same arguments."""
    rng = random.Random(f"{seed} {exact}")
    while True:
        try:
            network = _Draw(rng, limits or Limits(), exact).network(seed)
            check(network)
        except d.Invalid:
            continue
        return network


class _Draw:
    """Layers drawn for one network. Methods that take a shape return a chain that can be applied to it."""

    def __init__(self, rng: random.Random, limits: Limits, exact: bool) -> None:
        self.rng, self.limits, self.exact, self.left = rng, limits, exact, limits.convs

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def channels(self) -> int:
        return self.rng.choice([c for c in CHANNELS if c <= self.limits.channels])

    def network(self, seed: int) -> d.Network:
        rng, limits = self.rng, self.limits
        extents = rng.randint(1, limits.size), rng.randint(1, limits.size)
        image = (rng.choice([3, 3, 1, 4, min(17, limits.channels)]), *extents)
        returns = rng.choice(["last", "last", "tuple", "list", "dict", "namedtuple"])
        layers = self.body(image)
        layers += self.head(d.chain_shape(layers, image))
        if returns != "last":
            for _ in range(rng.choice([1, 1, 2, 3])):
                layers = self.tapped(layers)
            if self.chance(0.2):
                layers += (d.Tap(),)
        batch = rng.randint(1, limits.batch)
        return d.Network(image, layers, batch, returns, self.exact, seed, bytes=not self.exact and self.chance(0.15))

    def body(self, shape: d.Shape) -> d.Chain:
        chain: d.Chain = (d.Affine(self.chance(0.6)),) if self.chance(0.2) else ()
        for _ in range(self.rng.randint(1, 5)):
            now = d.chain_shape(chain, shape)
            if self.chance(0.3):
                chain += self.change(now)
            else:
                chain += self.motif(now, 0)
        return chain

    def head(self, shape: d.Shape) -> d.Chain:
        chain: d.Chain = ()
        if self.chance(0.5):
            return (d.Dropout(), d.Linear(self.channels(), self.chance(0.8))) if self.chance(0.15) else chain
        chain += (d.GlobalPool(self.rng.choice(["adaptive", "mean", "max"])),)
        if self.chance(0.2):
            chain += (d.Relu(),)
        if chain[0] != d.GlobalPool("mean") and self.chance(0.8):
            chain += (d.Flat(),)
        if self.chance(0.4):
            chain += (d.Dropout(),)
        if self.chance(0.7):
            chain += (d.Linear(self.channels(), self.chance(0.8)),)
            if self.chance(0.3):
                chain += (d.Norm(self.chance(0.5)),)
            if not self.exact and self.chance(0.4):
                chain += (self.rng.choice([d.Unit(), d.Softmax(), d.Softmax(log=True), *FUNCTIONS[:2]]),)
        return chain

    def tapped(self, chain: d.Chain) -> d.Chain:
        """With one more tap somewhere, at times inside a branch."""
        at = self.rng.randint(0, len(chain))
        inner = chain[at - 1] if at else None
        if isinstance(inner, d.Concat) and self.chance(0.5):
            which = self.rng.randrange(len(inner.paths))
            paths = tuple(self.tapped(p) if i == which else p for i, p in enumerate(inner.paths))
            return (*chain[: at - 1], d.Concat(paths), *chain[at:])
        return (*chain[:at], d.Tap(self.chance(0.15)), *chain[at:])

    def motif(self, shape: d.Shape, depth: int) -> d.Chain:
        """A chain that keeps the image's size."""
        choices: list[tuple[int, Callable[[], d.Chain]]] = [
            (4, self.unit),
            (1, self.factorized),
            (0 if self.exact else 1, lambda: self.separable(shape)),
            (0 if self.exact else 1, lambda: (self.rng.choice([*FUNCTIONS, d.LocalResponse(self.rng.randint(1, 7))]),)),
            (2, self.same_pool),
            (1, lambda: (d.Relu(),)),
            (1, lambda: (d.Norm(self.chance(0.5)),)),
            (1, lambda: (self.rng.choice([d.Dropout(), d.Affine(self.chance(0.5))]),)),
            (1, lambda: self.narrow(shape)),
        ]
        if depth < self.limits.depth and self.left > 0:
            choices += [(4, lambda: self.branches(shape, depth)), (3, lambda: self.residual(shape, depth))]
            if not self.exact:
                choices.append((1, lambda: self.gated(shape, depth)))
        weights = [weight for weight, _ in choices]
        return self.rng.choices([make for _, make in choices], weights)[0]()

    def unit(self, kernel: d.Pair | None = None, channels: int | None = None) -> d.Chain:
        """A convolution that keeps the size; what surrounds it in these networks, or some of that."""
        self.left -= 1
        kernel = kernel or self.rng.choice(SAME_KERNELS)
        dilation = self.rng.choice([(1, 1)] * 6 + [(2, 2), (1, 3)])
        total = [step * (extent - 1) for step, extent in zip(dilation, kernel, strict=True)]
        # What does not divide evenly goes to either side.
        top, left = ((t + self.chance(0.3)) // 2 for t in total)
        padding = (top, left, total[0] - top, total[1] - left)
        normed = self.chance(0.6)
        bias = self.chance(0.2 if normed else 0.6)
        conv = d.Conv(channels or self.channels(), kernel, (1, 1), padding, dilation, bias)
        chain: d.Chain = (d.Relu(), conv) if self.chance(0.1) else (conv,)
        chain += (d.Norm(self.chance(0.7)),) if normed else ()
        if not self.exact and self.chance(0.15):
            return (*chain, self.rng.choice(FUNCTIONS))
        return chain + ((d.Relu(),) if self.chance(0.7) else ())

    def separable(self, shape: d.Shape) -> d.Chain:
        """A depthwise or grouped convolution and a 1x1."""
        self.left -= 1
        channels, kernel = shape[0], self.rng.choice([(3, 3), (5, 5), (1, 7), (2, 3)])
        divisors = [g for g in range(1, min(channels, 8) + 1) if channels % g == 0]
        groups = channels if self.chance(0.6) else self.rng.choice(divisors)
        top, left = kernel[0] // 2, kernel[1] // 2
        padding = (top, left, kernel[0] - 1 - top, kernel[1] - 1 - left)
        chain: d.Chain = (d.Conv(channels, kernel, (1, 1), padding, (1, 1), self.chance(0.5), groups),)
        chain += (d.Norm(),) if self.chance(0.5) else ()
        chain += (self.rng.choice([d.Relu(), *FUNCTIONS]),) if self.chance(0.6) else ()
        return chain + (self.unit((1, 1)) if self.chance(0.7) else ())

    def gated(self, shape: d.Shape, depth: int) -> d.Chain:
        """Squeeze and excitation; a gate for each pixel; or the product of two paths."""
        gate = self.rng.choice(FUNCTIONS[:2])
        match self.rng.randrange(3):
            case 0:
                self.left -= 2
                between = self.rng.choice([d.Relu(), d.Activate("silu")])
                squeezed = (d.GlobalPool(), d.Conv(self.channels(), bias=True), between)
                return (d.Product((), (*squeezed, d.Conv(shape[0], bias=True), gate)),)
            case 1:
                self.left -= 1
                return (d.Product((), (d.Conv(1, (3, 3), (1, 1), (1, 1, 1, 1), bias=True), gate)),)
        left = self.path(shape, depth + 1, 1)
        channels = d.chain_shape(left, shape)[0]
        return (d.Product(left, (*self.unit(None, channels), gate)),)

    def factorized(self) -> d.Chain:
        extent = self.rng.choice([3, 5, 7])
        kernels = [(1, extent), (extent, 1)]
        self.rng.shuffle(kernels)
        return sum((self.unit(k) for k in kernels), ())

    def same_pool(self) -> d.Chain:
        if self.exact:
            return (d.Pool("max", (3, 3), (1, 1), (1, 1)),)
        kernel = self.rng.choice([(3, 3), (3, 3), (1, 3), (3, 1), (5, 5)])
        padding = (kernel[0] // 2, kernel[1] // 2)
        pool = d.Pool(self.rng.choice(["max", "avg", "avg"]), kernel, (1, 1), padding, False, self.chance(0.5))
        # In front of a 1x1 convolution it may be moved behind it.
        return (pool, *self.unit((1, 1), self.rng.choice([1, 2, 5]))) if self.chance(0.6) else (pool,)

    def narrow(self, shape: d.Shape) -> d.Chain:
        start = self.rng.randrange(shape[0])
        return (d.Narrow(start, self.rng.randint(1, shape[0] - start)),)

    def path(self, shape: d.Shape, depth: int, motifs: int) -> d.Chain:
        chain: d.Chain = ()
        for _ in range(motifs):
            chain += self.motif(d.chain_shape(chain, shape), depth)
        return chain

    def branches(self, shape: d.Shape, depth: int) -> d.Chain:
        """A concat; often of siblings that begin with a 1x1 convolution, of those on top some reduce in each path."""
        siblings, target = self.chance(0.5), None
        if depth == 0 and self.chance(0.25):
            target = d.chain_shape(self.change(shape), shape)[1:]
        paths = []
        for _ in range(self.rng.choice([2, 2, 3, 4])):
            path = self.unit((1, 1)) if siblings and self.chance(0.8) else ()
            path += self.path(d.chain_shape(path, shape), depth + 1, self.rng.choice([0, 1, 1, 2]))
            if target is not None:
                path += self.reach(d.chain_shape(path, shape), target)
            paths.append(path)
        if target is None and self.chance(0.1):
            paths.append(paths[0][:0])
        chain: d.Chain = (d.Concat(tuple(paths)),)
        return chain + ((d.Relu(),) if self.chance(0.2) else ())

    def residual(self, shape: d.Shape, depth: int) -> d.Chain:
        body = self.path(shape, depth + 1, self.rng.choice([0, 1, 2]))
        scale = self.rng.choice([1.0, 0.5, 2.0] if self.exact else [1.0, 0.17, 0.1, -0.5])
        if self.chance(0.2):
            channels = self.channels()
            left = self.unit(None, channels)
        else:
            channels, left = shape[0], ()
        self.left -= 1
        right = (*body, d.Conv(channels, bias=self.chance(0.7)))
        if self.chance(0.2):
            right += (d.Norm(),)
        return (d.Sum(left, right, scale), *((d.Relu(),) if self.chance(0.7) else ()))

    def change(self, shape: d.Shape) -> d.Chain:
        """A chain of one layer that may change the image's size."""
        for _ in range(20):
            layer = self.any_window()
            try:
                d.chain_shape((layer,), shape)
            except d.Invalid:
                continue
            return (layer,)
        return (d.Pool("max", (1, 1)),)

    def reach(self, shape: d.Shape, target: d.Shape) -> d.Chain:
        """A layer that gives an image of a size: any that happens to, else a convolution with as much padding as it
        takes.
        """
        for _ in range(20):
            chain = self.change(shape)
            if d.chain_shape(chain, shape)[1:] == target:
                return chain
        self.left -= 1
        stride, kernel, after = [], [], []
        for size, wanted in zip(shape[1:], target, strict=True):
            step = max(1, size // wanted)
            spare = size - (wanted - 1) * step
            stride.append(step)
            kernel.append(max(1, spare))
            after.append(max(0, 1 - spare))
        return (d.Conv(self.channels(), (kernel[0], kernel[1]), (stride[0], stride[1]), (0, 0, after[0], after[1])),)

    def any_window(self) -> d.Layer:
        rng = self.rng
        if not self.exact and self.chance(0.1):
            return d.Resize((rng.randint(1, self.limits.size), rng.randint(1, self.limits.size)), self.chance(0.5))
        if not self.exact and self.chance(0.05):
            return d.AdaptivePool((rng.randint(1, 5), rng.randint(1, 5)), rng.choice(["avg", "max"]))
        if self.chance(0.5):
            self.left -= 1
            top, left, bottom, right = (rng.choice([0, 0, 1, 2]) for _ in range(4))
            padding = rng.choice([(0, 0, 0, 0), (top, left, top, left), (top, left, bottom, right)])
            dilation = rng.choice([(1, 1)] * 4 + [(2, 2), (3, 1)])
            kernel, stride = rng.choice(ANY_KERNELS), rng.choice(STRIDES)
            around = rng.choice([0.5, -1.25]) if any(padding) and not self.exact and self.chance(0.3) else 0.0
            return d.Conv(self.channels(), kernel, stride, padding, dilation, self.chance(0.5), around=around)
        mode = rng.choice(["max", "avg"])
        whole = self.exact and mode == "avg"
        kernel = rng.choice(EXACT_WINDOWS if whole else WINDOWS)
        padding = (rng.randint(0, kernel[0] // 2), rng.randint(0, kernel[1] // 2))
        ceil, counted = not whole and self.chance(0.5), whole or self.chance(0.5)
        return d.Pool(mode, kernel, rng.choice(STRIDES), padding, ceil, counted)
