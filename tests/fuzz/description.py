"""What a random network is: small frozen values that print as the expression that makes them.

A chain is a tuple of layers, applied one after the other. Shapes are per image: ``(C, H, W)``, or ``(C,)`` behind
:class:`Flat` and :class:`Linear`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from math import prod
from typing import ClassVar, Literal

from inception_fast.activation import FunctionName
from inception_fast.graph.shapes import conv_extent, pool_extent

Shape = tuple[int, ...]
Pair = tuple[int, int]
Margins = tuple[int, int, int, int]


class Invalid(Exception):
    """No network can be made of a description."""


def require(condition: bool, reason: str) -> None:
    if not condition:
        raise Invalid(reason)


class Layer:
    """Base of all. ``repr`` leaves out what has its default value."""

    def shape(self, x: Shape) -> Shape:
        """Of the result.

        Raises:
            Invalid: the layer cannot be applied.
        """
        return x

    def chains(self) -> tuple[Chain, ...]:
        """Those inside."""
        return ()

    def __repr__(self) -> str:
        return short_repr(self)


Chain = tuple[Layer, ...]


def short_repr(value: object) -> str:
    """The expression that makes a dataclass, without what has its default value."""
    changed = ((f.name, getattr(value, f.name)) for f in fields(value) if getattr(value, f.name) != f.default)  # type: ignore[arg-type]
    return f"{type(value).__name__}({', '.join(f'{name}={given!r}' for name, given in changed)})"


@dataclass(frozen=True, repr=False)
class Conv(Layer):
    """``padding`` is (top, left, bottom, right), of the number ``around``; a module pads apart where that is not zero,
    or not the same on both sides.
    """

    channels: int
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Margins = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    bias: bool = False
    groups: int = 1
    around: float = 0.0

    def shape(self, x: Shape) -> Shape:
        require(len(x) == 3, "a convolution takes images")
        require(x[0] % self.groups == 0 == self.channels % self.groups, "groups divide the channels")
        out = tuple(
            conv_extent(
                x[1 + i], self.kernel[i], self.stride[i], self.padding[i], self.padding[2 + i], self.dilation[i]
            )
            for i in (0, 1)
        )
        require(min(out) > 0, "a convolution's kernel is larger than its padded image")
        return (self.channels, *out)


@dataclass(frozen=True, repr=False)
class Norm(Layer):
    """Batch normalisation, with weight and bias or without."""

    affine: bool = True


@dataclass(frozen=True, repr=False)
class Relu(Layer):
    """``max(x, 0)``."""


@dataclass(frozen=True, repr=False)
class Activate(Layer):
    """Another function of each element; ``prelu`` has a slope for each channel."""

    function: FunctionName
    alpha: float = 0.0
    beta: float = 0.0


@dataclass(frozen=True, repr=False)
class Softmax(Layer):
    """Over the channels, or the logarithm of it."""

    log: bool = False


@dataclass(frozen=True, repr=False)
class LocalResponse(Layer):
    """``torch.nn.LocalResponseNorm``."""

    size: int
    alpha: float = 0.1

    def shape(self, x: Shape) -> Shape:
        require(len(x) == 3, "images are normalised")
        return x


@dataclass(frozen=True, repr=False)
class Affine(Layer):
    """``x * scale + shift``: numbers, or vectors over the channels."""

    by_channel: bool = False


@dataclass(frozen=True, repr=False)
class Dropout(Layer):
    """Nothing, in inference."""


@dataclass(frozen=True, repr=False)
class Pool(Layer):
    """Maximum or average; ``count_pad`` is the average's ``count_include_pad``."""

    mode: Literal["max", "avg"]
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    ceil: bool = False
    count_pad: bool = True

    def shape(self, x: Shape) -> Shape:
        require(len(x) == 3, "a pool takes images")
        require(all(2 * p <= k for p, k in zip(self.padding, self.kernel, strict=True)), "PyTorch's rule for padding")
        sides = zip(x[1:], self.kernel, self.stride, self.padding, strict=True)
        reaches = all(size + 2 * pad >= kernel for size, kernel, _, pad in sides)
        out = tuple(pool_extent(x[1 + i], self.kernel[i], self.stride[i], self.padding[i], self.ceil) for i in (0, 1))
        require(reaches and min(out) > 0, "a pool's window is larger than its padded image")
        return (x[0], *out)


@dataclass(frozen=True, repr=False)
class GlobalPool(Layer):
    """Over all pixels: ``adaptive`` and ``mean`` are averages, of which the second leaves no image behind."""

    kind: Literal["adaptive", "mean", "max"] = "adaptive"

    def shape(self, x: Shape) -> Shape:
        require(len(x) == 3, "a pool takes images")
        return (x[0],) if self.kind == "mean" else (x[0], 1, 1)


@dataclass(frozen=True, repr=False)
class AdaptivePool(Layer):
    """Over ``size`` windows that cover the image."""

    size: Pair
    mode: Literal["max", "avg"] = "avg"

    def shape(self, x: Shape) -> Shape:
        require(len(x) == 3, "a pool takes images")
        return (x[0], *self.size)


@dataclass(frozen=True, repr=False)
class Resize(Layer):
    """Bilinear."""

    size: Pair
    align: bool = False

    def shape(self, x: Shape) -> Shape:
        require(len(x) == 3, "images are resized")
        return (x[0], *self.size)


@dataclass(frozen=True, repr=False)
class Flat(Layer):
    """``flatten(1)`` of images of one pixel."""

    def shape(self, x: Shape) -> Shape:
        require(x[1:] == (1, 1), "what is larger is flattened for a linear layer only")
        return x[:1]


@dataclass(frozen=True, repr=False)
class Linear(Layer):
    """Behind ``flatten(1)``."""

    channels: int
    bias: bool = True

    def shape(self, x: Shape) -> Shape:
        return (self.channels,)


@dataclass(frozen=True, repr=False)
class Unit(Layer):
    """Division by the L2 norm over the channels."""


@dataclass(frozen=True, repr=False)
class Narrow(Layer):
    """Some of the channels."""

    start: int
    channels: int

    def shape(self, x: Shape) -> Shape:
        require(self.start + self.channels <= x[0], "the channels are there")
        return (self.channels, *x[1:])


@dataclass(frozen=True, repr=False)
class Tap(Layer):
    """The value is an output of the network, flattened or as it is."""

    flat: bool = False


@dataclass(frozen=True, repr=False)
class Concat(Layer):
    """Every path applied to one value, the results side by side."""

    paths: tuple[Chain, ...]

    def shape(self, x: Shape) -> Shape:
        shapes = [chain_shape(path, x) for path in self.paths]
        require(len({s[1:] for s in shapes}) == 1, "the paths of a concat end in one size")
        return (sum(s[0] for s in shapes), *shapes[0][1:])

    def chains(self) -> tuple[Chain, ...]:
        return self.paths


@dataclass(frozen=True, repr=False)
class Sum(Layer):
    """``left(x) + scale * right(x)``."""

    left: Chain
    right: Chain
    scale: float = 1.0

    def shape(self, x: Shape) -> Shape:
        left, right = chain_shape(self.left, x), chain_shape(self.right, x)
        require(left == right, "the sides of a sum have one shape")
        return left

    def chains(self) -> tuple[Chain, ...]:
        return (self.left, self.right)


@dataclass(frozen=True, repr=False)
class Product(Layer):
    """``left(x) * gate(x)``: the gate has the other's channels or one, its height and width or one pixel."""

    left: Chain
    gate: Chain

    def shape(self, x: Shape) -> Shape:
        left, gate = chain_shape(self.left, x), chain_shape(self.gate, x)
        require(len(left) == len(gate) and gate[0] in (1, left[0]), "the gate's channels")
        require(gate[1:] in (left[1:], (1, 1)), "the gate's pixels")
        return left

    def chains(self) -> tuple[Chain, ...]:
        return (self.left, self.gate)


@dataclass(frozen=True)
class Network:
    """A network, its parameters and its images.

    Attributes:
        image: (C, H, W).
        returns: the taps in order and the last value, in such a structure; ``last`` is that alone, without taps.
        exact: parameters and images are small integers, of which every sum is exact in float32.
        seed: of parameters and images.
        offset: of the images, away from zero; where there is one, normalisations have the statistics of the images, and
            what is left after the means have gone is as little as the image says.
        bytes: the images are bytes, which are divided by 128 first.
    """

    LIMIT: ClassVar[int] = 1 << 16
    """Elements of an image's value."""

    image: tuple[int, int, int]
    layers: Chain
    batch: int = 1
    returns: Literal["last", "tuple", "list", "dict", "namedtuple"] = "last"
    exact: bool = False
    seed: int = 0
    offset: float = 0.0
    bytes: bool = False

    def __repr__(self) -> str:
        return short_repr(self)

    def check(self) -> None:
        """Raises Invalid where the layers do not fit each other."""
        require(min(*self.image, self.batch) > 0, "there is an image")
        require(not (self.exact and self.offset), "statistics are no integers")
        require(not (self.bytes and (self.exact or self.offset)), "bytes are what they are")
        require(bool(self.layers), "the input itself is no network")
        chain_shape(self.layers, self.image)
        require(any(not isinstance(layer, Tap | Dropout) for layer in all_layers(self.layers)), "something is computed")
        require(self.returns != "last" or not any(isinstance(x, Tap) for x in all_layers(self.layers)), "taps return")


def chain_shape(chain: Chain, x: Shape) -> Shape:
    """Of the result of applying a chain."""
    for layer in chain:
        x = layer.shape(x)
        require(min(x) > 0 and prod(x) <= Network.LIMIT, "values are neither empty nor huge")
    return x


def all_layers(chain: Chain) -> Iterator[Layer]:
    """Every layer of a chain, and of the chains within."""
    for layer in chain:
        yield layer
        for inner in layer.chains():
            yield from all_layers(inner)
