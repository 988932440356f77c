"""The Plan: steps over one arena, as every backend and the engine file see it.

All activations are NHWC. All sizes and offsets are in elements *per image*: for a batch of N, an arena buffer occupies
``arena[N * offset : N * (offset + size)]`` as a contiguous ``[N, height, width, channels]``. Scaling every offset
by N keeps disjoint buffers disjoint, so one Plan serves every batch size.

A Plan knows nothing of PyTorch modules or Graphs. ``validate`` (in :mod:`inception_fast.plan.check`) runs on
construction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal

from typing_extensions import assert_never

from inception_fast.activation import Activation

Pair = tuple[int, int]
Axis = Literal["vertical", "horizontal"]

QUANTIZED = "uint8"
"""The dtype of quantised Plans."""

ALIGNMENT = 64
"""Elements: arena offsets are multiples of it, so every buffer starts on a cache line in any dtype and batch size."""

OPTIONAL = {"optional": True}
"""Marks a field that an engine file leaves out where it has its default, None or 0."""


@dataclass(frozen=True)
class Buffer:
    """An NHWC activation.

    Attributes:
        home: ``input`` and ``output`` are the caller's memory, ``arena`` is the Plan's.
        offset: elements per image into the arena, a multiple of ALIGNMENT; 0 for the caller's memory.
        scale, zero: in a ``uint8`` Plan an element ``q`` stands for ``scale * (q - zero)``; the input is rounded to
            that when it is read, the outputs are float32 and have no scale. No scale in any other Plan. Bytes have
            scale 1 and zero 0: they stand for themselves.
        dtype: of the input: bytes, which PadSteps alone read; by default ``Plan.io_dtype``.
    """

    name: str
    height: int
    width: int
    channels: int
    home: Literal["input", "arena", "output"]
    offset: int = 0
    scale: float | None = field(default=None, metadata=OPTIONAL)
    zero: int = field(default=0, metadata=OPTIONAL)
    dtype: Literal["uint8"] | None = field(default=None, metadata=OPTIONAL)

    @property
    def size(self) -> int:
        """Elements per image."""
        return self.height * self.width * self.channels


@dataclass(frozen=True)
class Slice:
    """Channels ``[start, start + channels)`` of the buffer with that index."""

    buffer: int
    start: int
    channels: int


@dataclass(frozen=True)
class Destination:
    """Where consecutive output channels of a step go, and what is applied to them: a ReLU, another function, or none.

    Attributes:
        activation: of a convolution, a depthwise one or a pointwise step; its slope is a constant ``[C]``, float32. Not
            of a convolution in a ``uint8`` Plan.
    """

    slice: Slice
    relu: bool
    activation: Activation | None = field(default=None, metadata=OPTIONAL)


MOST_SENSITIVE = 1e30
"""A sensitivity beside which nothing may be added."""


@dataclass(frozen=True)
class Sensitivity:
    """Of the outputs to one convolution; :mod:`inception_fast.lowering.sensitivity` measures it.

    An algorithm that adds the relative error ``n`` to the sums, as noise, and ``w`` to the weights uses up the share
    ``(noise * n)**2 + (weights * w)**2`` of what may be added in the whole Plan. Neither is above MOST_SENSITIVE.
    """

    noise: float
    weights: float


@dataclass(frozen=True)
class Convolution:
    """The arithmetic of one convolution, an implicit GEMM with K = taps x input channels.

    ``out[n, y, x, o] = bias[o] + sum over t, c of
    weight[o, t, c] * in[n, y * stride[0] + taps[t][0], x * stride[1] + taps[t][1], c]``, pixels outside the image
    being zero.

    Attributes:
        weight: name of a constant ``[C_out, T, C_in]`` in the Plan's dtype; int8 in a ``uint8`` Plan.
        bias: name of a constant ``[C_out]`` float32, or None. In a ``uint8`` Plan int32, in units of the source's scale
            times ``scale``.
        taps: (dy, dx) offsets of the input pixel from ``(y * stride[0], x * stride[1])``; padding and dilation are
            folded into them, so a 3x3 with padding 1 has taps (-1, -1) ... (1, 1).
        stride: (vertical, horizontal).
        scale: in a ``uint8`` Plan, the name of a constant ``[C_out]`` float32: what a weight of 1 stands for.
        winograd: in a ``uint8`` Plan, the axis along which outputs are computed two by two, by Winograd's F(2, 3); the
            weight is ``[C_out, winograd_taps(...).weights, C_in]`` then.
        sensitivity: where it is missing, an algorithm is free to add what it adds. Not in a ``uint8`` Plan.
    """

    weight: str
    bias: str | None
    in_channels: int
    out_channels: int
    taps: tuple[Pair, ...]
    stride: Pair
    scale: str | None = field(default=None, metadata=OPTIONAL)
    winograd: Axis | None = field(default=None, metadata=OPTIONAL)
    sensitivity: Sensitivity | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class ConvStep:
    """Convolution, then ``+ residual``, then the activation of each destination, written to its slice.

    ``destinations`` cover the output channels in order. ``residual`` has C_out channels and the output's height and
    width.
    """

    kind: ClassVar[str] = "conv"
    name: str
    source: Slice
    conv: Convolution
    destinations: tuple[Destination, ...]
    residual: Slice | None = None


@dataclass(frozen=True)
class PairStep:
    """``second(relu?(first(source)))``; the intermediate ``[middle_height, middle_width]`` never reaches global
    memory.
    """

    kind: ClassVar[str] = "pair"
    name: str
    source: Slice
    first: Convolution
    first_relu: bool
    middle_height: int
    middle_width: int
    second: Convolution
    destinations: tuple[Destination, ...]
    residual: Slice | None = None


@dataclass(frozen=True)
class DepthwiseStep:
    """A convolution of each channel by itself, then the destination's activation.

    ``out[n, y, x, c] = bias[c] + sum over t of
    weight[t, c] * in[n, y * stride[0] + taps[t][0], x * stride[1] + taps[t][1], c]``, pixels outside the image being
    zero.

    Attributes:
        weight: name of a constant ``[T, C]`` in the Plan's dtype; float32 in a ``uint8`` Plan.
        bias: name of a constant ``[C]`` float32, or None.
        taps, stride: as in Convolution.
    """

    kind: ClassVar[str] = "depthwise"
    name: str
    source: Slice
    destination: Destination
    weight: str
    bias: str | None
    taps: tuple[Pair, ...]
    stride: Pair


@dataclass(frozen=True)
class PoolStep:
    """Max or average pooling, then ``act(. + bias)`` (average only).

    Attributes:
        adaptive: window ``i`` of the ``n`` along an axis of ``size`` pixels is ``[i * size // n, ceil((i + 1) * size /
            n))``; kernel and stride are 1 then, padding is 0 and the divisor ``inside``.
        kernel, stride: (vertical, horizontal).
        padding: (top, left): the first window starts at ``-padding``; windows are clipped to the image. Ceil mode
            shows only in the destination's size.
        divisor: for ``avg``: ``window`` divides by kernel area clipped to the padded image (count_include_pad),
            ``inside`` by the pixels inside the image.
        padding_end: (bottom, right) padding, which the ``window`` divisor counts.
    """

    kind: ClassVar[str] = "pool"
    name: str
    mode: Literal["max", "avg"]
    source: Slice
    destination: Destination
    kernel: Pair
    stride: Pair
    padding: Pair
    padding_end: Pair
    divisor: Literal["window", "inside"] = "inside"
    bias: str | None = None
    adaptive: bool = field(default=False, metadata=OPTIONAL)


@dataclass(frozen=True)
class PointwiseStep:
    """``act(source * scale + shift + other)`` per channel; absent parts are the identity. A bare one is a copy.

    scale and shift name float32 constants ``[C]``.
    """

    kind: ClassVar[str] = "pointwise"
    name: str
    source: Slice
    destination: Destination
    scale: str | None = None
    shift: str | None = None
    other: Slice | None = None


@dataclass(frozen=True)
class PadStep:
    """``act(source * scale + shift)`` per channel with ``act(value)`` around it, to the destination's height and width;
    the act is a ReLU or nothing. Where the input is bytes it is what makes numbers of them.

    Attributes:
        padding: (top, left): where the source begins in the destination; all of it is inside.
        value: in the numbers of the destination; a finite float32.
        scale, shift: names of float32 constants ``[C]``, or None.
    """

    kind: ClassVar[str] = "pad"
    name: str
    source: Slice
    destination: Destination
    padding: Pair
    value: float
    scale: str | None = None
    shift: str | None = None


@dataclass(frozen=True)
class ResizeStep:
    """Bilinear interpolation to the destination's height and width (no antialiasing)."""

    kind: ClassVar[str] = "resize"
    name: str
    source: Slice
    destination: Destination
    align_corners: bool


@dataclass(frozen=True)
class NormalizeStep:
    """Each pixel's channel vector divided by ``max(its L2 norm, eps)``."""

    kind: ClassVar[str] = "normalize"
    name: str
    source: Slice
    destination: Destination
    eps: float


@dataclass(frozen=True)
class SoftmaxStep:
    """``exp(x) / sum(exp(x))`` over each pixel's channels, or the logarithm of it."""

    kind: ClassVar[str] = "softmax"
    name: str
    source: Slice
    destination: Destination
    log: bool


@dataclass(frozen=True)
class LocalResponseStep:
    """Local response normalisation across channels (Krizhevsky et al. 2012, section 3.3, with PyTorch's mean).

    ``out[c] = in[c] / (k + alpha / size * sum of in[j]**2 for c - size // 2 <= j <= c + (size - 1) // 2)**beta``.
    """

    kind: ClassVar[str] = "local_response"
    name: str
    source: Slice
    destination: Destination
    size: int
    alpha: float
    beta: float
    k: float


@dataclass(frozen=True)
class GateStep:
    """``source * gate``, then ReLU where the destination has one.

    Attributes:
        gate: as many channels as the source or one, which is for all of them; as high and wide as the source or 1x1.
    """

    kind: ClassVar[str] = "gate"
    name: str
    source: Slice
    gate: Slice
    destination: Destination


Step = (
    ConvStep
    | PairStep
    | DepthwiseStep
    | PoolStep
    | PointwiseStep
    | PadStep
    | ResizeStep
    | NormalizeStep
    | SoftmaxStep
    | LocalResponseStep
    | GateStep
)


@dataclass(frozen=True)
class Constant:
    """Shape and dtype (PyTorch's name, ``float32`` ...) of a parameter tensor; its values travel beside the Plan."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Output:
    """One tensor returned: a whole ``output`` buffer, as ``[N, C, H, W]``, or as ``[N, C * H * W]`` where ``flat``."""

    buffer: int
    flat: bool


@dataclass(frozen=True)
class Plan:
    """Steps in an order that is valid one after the other, grouped in stages of steps that may run side by side.

    Attributes:
        dtype: of activations and weights: ``float32``, ``float16``, ``bfloat16`` or ``float64``; or ``uint8``: a
            quantised Plan, whose arithmetic ``docs/int8.md`` defines.
        stages: indices of steps; every step is in one stage, stages run in order, and the steps are in stage order.
        arena: elements per image.
        outputs: in the order that the model returned them; buffers may repeat.
    """

    dtype: str
    buffers: tuple[Buffer, ...]
    steps: tuple[Step, ...]
    stages: tuple[tuple[int, ...], ...]
    constants: dict[str, Constant]
    outputs: tuple[Output, ...]
    arena: int

    def __post_init__(self) -> None:
        from inception_fast.plan.check import validate

        validate(self)

    @cached_property
    def input(self) -> int:
        """Index of the input buffer."""
        return next(i for i, b in enumerate(self.buffers) if b.home == "input")

    @property
    def io_dtype(self) -> str:
        """The dtype of the tensors that come in, but bytes, and go out."""
        return "float32" if self.dtype == QUANTIZED else self.dtype

    @property
    def input_dtype(self) -> str:
        """The dtype of the tensor that comes in."""
        return self.buffers[self.input].dtype or self.io_dtype

    @cached_property
    def step_names(self) -> tuple[str, ...]:
        return tuple(s.name for s in self.steps)


def destinations_of(step: Step) -> tuple[Destination, ...]:
    """Every slice that a step writes."""
    return step.destinations if isinstance(step, ConvStep | PairStep) else (step.destination,)


def sources_of(step: Step) -> tuple[Slice, ...]:
    """Every slice that a step reads."""
    match step:
        case ConvStep() | PairStep():
            extra = step.residual
        case PointwiseStep():
            extra = step.other
        case GateStep():
            extra = step.gate
        case DepthwiseStep() | PoolStep() | PadStep() | ResizeStep() | NormalizeStep() | SoftmaxStep():
            extra = None
        case LocalResponseStep():
            extra = None
        case _:
            assert_never(step)
    return (step.source,) if extra is None else (step.source, extra)


def convolutions_of(step: Step) -> tuple[Convolution, ...]:
    """The convolutions in a step, in order."""
    match step:
        case ConvStep():
            return (step.conv,)
        case PairStep():
            return (step.first, step.second)
        case _:
            return ()


def constants_of(step: Step) -> tuple[str, ...]:
    """Names of the constants that a step reads."""
    names: tuple[str | None, ...] = ()
    for conv in convolutions_of(step):
        names += (conv.weight, conv.bias, conv.scale)
    match step:
        case DepthwiseStep():
            names += (step.weight, step.bias)
        case PoolStep():
            names += (step.bias,)
        case PointwiseStep() | PadStep():
            names += (step.scale, step.shift)
    names += tuple(d.activation.slope for d in destinations_of(step) if d.activation)
    return tuple(n for n in names if n is not None)
