"""The Graph: what an Inception-family network computes, with neither memory nor modules in it.

A Graph is a tuple of :class:`Node` in topological order. Each node defines one value, named after the node, by
applying one :class:`Op` to earlier values. Shapes are per image: ``(C, H, W)``, or ``(C,)`` after flattening; the
batch is implicit, so one Graph serves every batch size. Parameters are referred to by name and live in
:attr:`Graph.params`.

Everything is frozen: a pass returns a new Graph (see :mod:`inception_fast.graph.rewrite`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch

from inception_fast.activation import Activation

Shape = tuple[int, ...]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Op:
    """Base of all op kinds. Fields that name parameters are strings (or None where the parameter is absent)."""

    @property
    def kind(self) -> str:
        return type(self).__name__

    def attributes(self) -> dict[str, object]:
        """The op's fields that differ from their defaults, for printing."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}


@dataclass(frozen=True)
class Input(Op):
    """The network's input, per image ``(C, H, W)``; ``bytes``: whole numbers from 0 to 255."""

    shape: Shape
    bytes: bool = False


class Activated:
    """What ends in an activation: a ReLU, another function, or none."""

    relu: bool
    activation: Activation | None

    @property
    def is_linear(self) -> bool:
        """Whether there is none."""
        return not self.relu and self.activation is None

    @property
    def slope(self) -> str | None:
        """The parameter with a slope for each channel, where the activation has one."""
        return None if self.activation is None else self.activation.slope


@dataclass(frozen=True)
class Segment(Activated):
    """A run of output channels of a convolution, with its own activation."""

    channels: int
    relu: bool = False
    activation: Activation | None = None


@dataclass(frozen=True)
class Conv2d(Op):
    """2-D cross-correlation (``torch.nn.functional.conv2d``, groups = 1), inputs ``(x)`` or ``(x, residual)``.

    ``out = act(conv(x, weight) + bias + residual)``, the activation chosen per segment.

    Attributes:
        weight: parameter ``[C_out, C_in, kh, kw]``.
        bias: parameter ``[C_out]`` or None.
        stride, dilation: (vertical, horizontal).
        padding: zeros around the input (top, left, bottom, right).
        segments: the output channels in order, summing to C_out. More than one after siblings were merged; each is then
            read through a :class:`Slice` node.
        taps: the (row, column) positions of the kernel window that may be non-zero, in row-major order; None means all.
    """

    weight: str
    bias: str | None
    stride: Pair
    padding: tuple[int, int, int, int]
    dilation: Pair
    segments: tuple[Segment, ...]
    taps: tuple[Pair, ...] | None = None

    @property
    def channels(self) -> int:
        return sum(s.channels for s in self.segments)


@dataclass(frozen=True)
class ConvPair(Op):
    """Two convolutions in sequence, ``second(first(x))``, whose intermediate is nobody else's. Inputs as Conv2d."""

    first: Conv2d
    second: Conv2d


@dataclass(frozen=True)
class DepthwiseConv2d(Activated, Op):
    """A convolution of each channel by itself (``torch.nn.functional.conv2d``, groups = C), then the activation.

    Attributes:
        weight: parameter ``[C, 1, kh, kw]``.
        bias, stride, padding, dilation: as of Conv2d.
    """

    weight: str
    bias: str | None
    stride: Pair
    padding: tuple[int, int, int, int]
    dilation: Pair
    relu: bool = False
    activation: Activation | None = None


@dataclass(frozen=True)
class Slice(Op):
    """Channels ``[start, start + channels)`` of the input."""

    start: int
    channels: int


@dataclass(frozen=True)
class Select(Op):
    """Channels of the input in this order; one may be there several times."""

    channels: tuple[int, ...]


@dataclass(frozen=True)
class BatchNorm(Op):
    """Inference-mode batch normalisation; parameters ``[C]``. weight and bias are None without affine."""

    mean: str
    var: str
    weight: str | None
    bias: str | None
    eps: float


@dataclass(frozen=True)
class Affine(Activated, Op):
    """``out = act(x * scale + shift)`` per channel; parameters ``[C]``."""

    scale: str
    shift: str
    relu: bool = False
    activation: Activation | None = None


@dataclass(frozen=True)
class ReLU(Op):
    """``max(x, 0)``; NaN stays NaN."""


@dataclass(frozen=True)
class Activate(Op):
    """Another function than ReLU of each element; the slope of a ``prelu`` is a parameter ``[C]``."""

    activation: Activation


@dataclass(frozen=True)
class Gate(Op):
    """``x * gate``, inputs ``(x, gate)``: the gate has the channels of ``x`` or one, and its height and width or 1x1
    (or none).
    """


@dataclass(frozen=True)
class Softmax(Op):
    """``torch.softmax`` over channels, or ``torch.log_softmax``."""

    log: bool = False


@dataclass(frozen=True)
class LocalResponseNorm(Op):
    """``torch.nn.functional.local_response_norm``."""

    size: int
    alpha: float
    beta: float
    k: float


@dataclass(frozen=True)
class Add(Activated, Op):
    """``out = act(a + b)``, equal shapes."""

    relu: bool = False
    activation: Activation | None = None


@dataclass(frozen=True)
class Concat(Op):
    """Concatenation along channels. ``in_place``: every input is written straight into its slice of the result."""

    in_place: bool = False


@dataclass(frozen=True)
class Copy(Op):
    """The identity, as a value of its own: made where two concats want the same tensor."""


@dataclass(frozen=True)
class Pad(Op):
    """``x * scale + shift`` per channel, with ``value`` around it.

    Attributes:
        padding: pixels of ``value`` (top, left, bottom, right).
        scale, shift: parameters ``[C]``; None, both of them, for one and zero.
    """

    padding: tuple[int, int, int, int]
    value: float = 0.0
    scale: str | None = None
    shift: str | None = None


@dataclass(frozen=True)
class MaxPool(Op):
    """Max pooling; padding is minus infinity. ``padding`` is (vertical, horizontal) as in PyTorch.

    Attributes:
        outside: minus infinity around the input (top, left, bottom, right), besides the padding and as part of the
            image, by which a window may reach further at one end than at the other. Every window sees a pixel.
    """

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair = (1, 1)
    ceil_mode: bool = False
    outside: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True)
class AvgPool(Op):
    """Average pooling, then ``act(. + bias)``: the epilogue of a convolution that was moved in front of the pool.

    ``count_include_pad`` False divides by the number of pixels inside the image.
    """

    kernel: Pair
    stride: Pair
    padding: Pair
    ceil_mode: bool = False
    count_include_pad: bool = True
    bias: str | None = None
    relu: bool = False


@dataclass(frozen=True)
class AdaptiveAvgPool(Op):
    """``torch.nn.functional.adaptive_avg_pool2d`` to ``size``."""

    size: Pair


@dataclass(frozen=True)
class AdaptiveMaxPool(Op):
    """``torch.nn.functional.adaptive_max_pool2d`` to ``size``."""

    size: Pair


@dataclass(frozen=True)
class Flatten(Op):
    """``(C, H, W)`` to ``(C * H * W,)``."""


@dataclass(frozen=True)
class Linear(Activated, Op):
    """``act(x @ weight.T + bias)``; weight ``[C_out, C_in]``."""

    weight: str
    bias: str | None
    relu: bool = False
    activation: Activation | None = None


@dataclass(frozen=True)
class Resize(Op):
    """Bilinear interpolation to ``size`` = (H, W) without antialiasing (``torch.nn.functional.interpolate``)."""

    size: Pair
    align_corners: bool


@dataclass(frozen=True)
class Normalize(Op):
    """Division by the L2 norm over channels, the norm bounded below by ``eps`` (``torch.nn.functional.normalize``)."""

    eps: float


Operation = (
    Input
    | Conv2d
    | ConvPair
    | DepthwiseConv2d
    | Slice
    | Select
    | BatchNorm
    | Affine
    | ReLU
    | Activate
    | Gate
    | Softmax
    | LocalResponseNorm
    | Add
    | Concat
    | Copy
    | Pad
    | MaxPool
    | AvgPool
    | AdaptiveAvgPool
    | AdaptiveMaxPool
    | Flatten
    | Linear
    | Resize
    | Normalize
)
"""Every kind of op: what matches on one has a case for each."""


@dataclass(frozen=True)
class Node:
    """One op applied to named values.

    Attributes:
        name: the value that it defines, unique in its graph.
        origin: the module path in the user's model, kept through every pass for reports.
    """

    name: str
    op: Operation
    inputs: tuple[str, ...]
    origin: str = ""

    def __str__(self) -> str:
        attributes = ", ".join(f"{k}={v}" for k, v in self.op.attributes().items())
        return f"%{self.name} = {self.op.kind}({', '.join('%' + i for i in self.inputs)}) {{{attributes}}}"


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order, the first of them the Input.

    Attributes:
        outputs: names of the values returned, in order; a name may repeat.
        params: parameter tensors by name, CPU. Passes compute in float64 and leave their results so.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    params: Mapping[str, torch.Tensor]

    @cached_property
    def by_name(self) -> dict[str, Node]:
        return {n.name: n for n in self.nodes}

    @cached_property
    def consumers(self) -> dict[str, tuple[Node, ...]]:
        """Readers of each value, a node once for each time it reads it."""
        table: dict[str, list[Node]] = {n.name: [] for n in self.nodes}
        for node in self.nodes:
            for value in node.inputs:
                table[value].append(node)
        return {name: tuple(readers) for name, readers in table.items()}

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Shape of each value, per image."""
        from inception_fast.graph.shapes import infer_shapes

        return infer_shapes(self.nodes, self.params)

    @property
    def input(self) -> Node:
        return self.nodes[0]

    def at(self, height: int, width: int) -> Graph:
        """The same for images of another size."""
        first, *others = self.nodes
        assert isinstance(first.op, Input)
        return Graph(
            (replace(first, op=replace(first.op, shape=(first.op.shape[0], height, width))), *others),
            self.outputs,
            self.params,
        )

    def is_private(self, name: str) -> bool:
        """True where exactly one node reads the value and the caller never sees it."""
        return len(self.consumers[name]) == 1 and name not in self.outputs

    def of_kind(self, *kinds: type[Op]) -> Iterator[Node]:
        return (n for n in self.nodes if isinstance(n.op, kinds))

    def __str__(self) -> str:
        lines = [f"{node} : {'x'.join(map(str, self.shapes[node.name]))}" for node in self.nodes]
        return "\n".join([*lines, "return " + ", ".join("%" + o for o in self.outputs)])
