"""Small networks, each about one thing that a backend must get right, at sizes that no tile divides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from inception_fast.activation import Activation
from inception_fast.graph import ir
from tests.graph.build import Build

Case = Callable[[], ir.Graph]
CASES: dict[str, Case] = {}


def case(make: Case, name: str = "") -> Case:
    """Registers a network under its function's name, its weights scaled so that deep ones stay in float16's range."""

    def scaled() -> ir.Graph:
        graph = make()
        for parameter in graph.params.values():
            if parameter.dim() > 1:
                parameter *= parameter[0].numel() ** -0.5
        return graph

    CASES[name or make.__name__] = scaled
    return scaled


def _in_place(build: Build, *values: str, name: str = "") -> str:
    return build.node(ir.Concat(in_place=True), *values, name=name)


def _conv_case(
    name: str, channels: int, out: int, kernel: tuple[int, int], size: tuple[int, int], **options: Any
) -> None:
    def make() -> ir.Graph:
        build = Build(channels, *size)
        build.conv("x", out, kernel, **options)
        return build.graph()

    case(make, name)


_conv_case("conv_1x1", 67, 45, (1, 1), (7, 9), bias=True, relu=True)
_conv_case("conv_1x1_one_pixel", 131, 77, (1, 1), (1, 1), bias=True)
_conv_case("conv_1x1_strided", 19, 23, (1, 1), (9, 8), stride=(2, 2), bias=True)
_conv_case("conv_3x3", 21, 50, (3, 3), (13, 11), bias=True, relu=True)
_conv_case("conv_3x3_wide", 48, 80, (3, 3), (17, 35), relu=True)
_conv_case("conv_3x3_unpadded", 16, 33, (3, 3), (8, 7), padding=(0, 0, 0, 0), relu=True)
_conv_case("conv_3x3_strided", 12, 20, (3, 3), (15, 14), stride=(2, 2), padding=(0, 0, 0, 0), bias=True, relu=True)
_conv_case("conv_3x3_larger_than_image", 9, 10, (3, 3), (1, 2), bias=True)
_conv_case("conv_5x5", 10, 18, (5, 5), (9, 12), bias=True, relu=True)
_conv_case("conv_7x7_stem", 3, 37, (7, 7), (23, 26), stride=(2, 2), padding=(3, 3, 3, 3), bias=True, relu=True)
_conv_case("conv_3x3_stem", 3, 32, (3, 3), (21, 19), stride=(2, 2), padding=(0, 0, 0, 0), bias=True, relu=True)
_conv_case("conv_1x7", 20, 24, (1, 7), (9, 11), bias=True, relu=True)
_conv_case("conv_7x1", 24, 20, (7, 1), (11, 9), bias=True, relu=True)
_conv_case("conv_1x3", 34, 17, (1, 3), (8, 8))
_conv_case("conv_3x1", 17, 34, (3, 1), (8, 5), relu=True)
_conv_case("conv_one_channel", 1, 1, (3, 3), (5, 5), bias=True)
_conv_case("conv_asymmetric", 8, 16, (3, 3), (9, 10), stride=(2, 2), padding=(0, 1, 1, 0), relu=True)
_conv_case("conv_uneven_stride", 8, 16, (3, 2), (12, 13), stride=(3, 1), padding=(1, 0, 2, 1))
_conv_case("conv_dilated", 8, 12, (3, 3), (11, 12), dilation=(2, 3), bias=True, relu=True)


@case
def residual() -> ir.Graph:
    build = Build(37, 9, 8)
    first = build.conv("x", 37, (3, 3), relu=True)
    activated = build.conv("x", 37, bias=True, relu=True, residual=first)
    build.conv(activated, 37, bias=True, residual="x")
    return build.graph()


@case
def factorized_pairs() -> ir.Graph:
    build = Build(22, 10, 13)
    value = "x"
    for kernel, channels in [((1, 7), (26, 30)), ((7, 1), (18, 40)), ((3, 1), (12, 21)), ((1, 3), (35, 22))]:
        middle, out = channels
        half = [build.conv(value, middle, kernel, bias=True, relu=True)]
        half.append(build.conv(half[0], out, kernel[::-1], bias=True, relu=kernel[0] == 1))
        second, first = build.nodes.pop(), build.nodes.pop()
        value = build.node(ir.ConvPair(first.op, second.op), value)  # type: ignore[arg-type]
    first = ir.Conv2d(build.param(9, 22, 1, 3), None, (1, 1), (0, 1, 0, 1), (1, 1), (ir.Segment(9),))
    second = ir.Conv2d(build.param(22, 9, 3, 1), None, (1, 1), (1, 0, 1, 0), (1, 1), (ir.Segment(22, True),))
    build.node(ir.ConvPair(first, second), value, "x")
    return build.graph()


@case
def merged_siblings() -> ir.Graph:
    """One product to four places: two slices of a concat at odd offsets, and two buffers of their own."""
    build = Build(29, 9, 7)
    merged = build.conv("x", (13, 6, 11, 5), bias=True, relu=True)
    op = build.nodes[-1].op
    assert isinstance(op, ir.Conv2d)
    activations = (True, False, True, False)
    segments = tuple(ir.Segment(s.channels, relu) for s, relu in zip(op.segments, activations, strict=True))
    build.nodes[-1] = ir.Node(merged, replace(op, segments=segments), ("x",))
    a, b, c, d = (build.slice(merged, start, width) for start, width in [(0, 13), (13, 6), (19, 11), (30, 5)])
    pooled = build.node(ir.AvgPool((3, 3), (1, 1), (1, 1), bias=build.param(5), relu=True), d)
    deep = build.conv(c, 7, (3, 3), bias=True, relu=True)
    _in_place(build, a, deep, b, pooled)
    return build.graph()


@case
def union_of_taps() -> ir.Graph:
    build = Build(12, 8, 9)
    weight = build.param(20, 12, 3, 3)
    cross = ((0, 1), (1, 0), (1, 1), (1, 2), (2, 1))
    outside = [(r, c) for r in range(3) for c in range(3) if (r, c) not in cross]
    for row, column in outside:
        build.params[weight][:, :, row, column] = 0
    op = ir.Conv2d(weight, None, (1, 1), (1, 1, 1, 1), (1, 1), (ir.Segment(9, True), ir.Segment(11)), cross)
    node = build.node(op, "x")
    _in_place(build, build.slice(node, 9, 11), build.slice(node, 0, 9))
    return build.graph()


@case
def max_pools() -> ir.Graph:
    build = Build(21, 12, 15)
    outputs = [
        build.node(ir.MaxPool(kernel, stride, padding, ceil_mode=ceil), "x")
        for kernel, stride, padding, ceil in [
            ((3, 3), (1, 1), (1, 1), False),
            ((3, 3), (2, 2), (0, 0), False),
            ((3, 3), (2, 2), (0, 0), True),
            ((2, 2), (2, 2), (0, 0), True),
            ((3, 2), (2, 3), (1, 1), True),
            ((12, 15), (1, 1), (0, 0), False),
        ]
    ]
    return build.graph(*outputs)


@case
def max_pools_with_uneven_ends() -> ir.Graph:
    build = Build(13, 9, 10)
    margins = [((3, 3), (2, 2), (0, 0, 1, 1)), ((3, 2), (2, 1), (2, 1, 1, 0)), ((5, 5), (1, 3), (1, 4, 3, 0))]
    pools = [ir.MaxPool(kernel, stride, (0, 0), outside=outside) for kernel, stride, outside in margins]
    pools.append(ir.MaxPool((3, 3), (2, 2), (1, 1), ceil_mode=True, outside=(1, 0, 0, 1)))
    return build.graph(*(build.node(pool, "x") for pool in pools))


@case
def average_pools() -> ir.Graph:
    build = Build(21, 12, 15)
    outputs = []
    for count in (True, False):
        for kernel, stride, padding, ceil in [
            ((3, 3), (1, 1), (1, 1), False),
            ((3, 3), (2, 2), (1, 1), True),
            ((5, 4), (3, 2), (2, 1), True),
        ]:
            outputs.append(build.node(ir.AvgPool(kernel, stride, padding, ceil, count), "x"))
        op = ir.AvgPool((3, 3), (1, 1), (1, 1), count_include_pad=count, bias=build.param(21), relu=True)
        outputs.append(build.node(op, "x"))
    outputs.append(build.node(ir.AdaptiveAvgPool((1, 1)), "x"))
    outputs.append(build.node(ir.AdaptiveAvgPool((4, 3)), "x"))
    return build.graph(*outputs)


@case
def pools_in_concat() -> ir.Graph:
    """Pools that read slices and write slices."""
    build = Build(10, 9, 9)
    left, right = build.conv("x", 13, relu=True), build.conv("x", 7, (3, 3))
    _in_place(build, left, right, name="both")
    inner = build.slice("both", 3, 12)
    a = build.node(ir.MaxPool((3, 3), (2, 2), (0, 0)), inner)
    b = build.node(ir.AvgPool((3, 3), (2, 2), (0, 0)), "both")
    c = build.conv(inner, 9, (3, 3), stride=(2, 2), padding=(0, 0, 0, 0), bias=True, relu=True)
    _in_place(build, a, c, b)
    return build.graph()


@case
def pointwise() -> ir.Graph:
    build = Build(11, 6, 5)
    scaled = build.affine("x", relu=True)
    shifted = build.add(scaled, "x", relu=True)
    plain = build.add(shifted, build.affine(shifted))
    copied = build.node(ir.Copy(), plain)
    return build.graph(scaled, build.relu(copied), _in_place(build, build.node(ir.Copy(), "x"), copied))


def _pads(build: Build, source: str) -> list[str]:
    """Margins of all kinds around a source, scaled and as it is."""
    channels = build.channels(source)
    outputs = [
        build.node(ir.Pad(margins, value), source)
        for margins, value in [((1, 1, 1, 1), 0.5), ((0, 2, 3, 0), -1.25), ((0, 0, 0, 0), 0.0), ((4, 0, 0, 1), 0.0)]
    ]
    scaled = ir.Pad((2, 1, 0, 3), 0.75, build.param(channels), build.param(channels))
    return [*outputs, build.node(scaled, source)]


@case
def pads() -> ir.Graph:
    """Of the input, of a slice into a slice, and in front of windows."""
    build = Build(13, 6, 7)
    outputs = _pads(build, "x")
    inner = build.slice("x", 3, 9)
    around = ir.Pad((1, 0, 1, 2), -0.5, build.param(9), build.param(9))
    both = _in_place(build, build.node(ir.Copy(), outputs[0]), build.conv(outputs[0], 6, (3, 3)))
    pooled = build.node(ir.MaxPool((3, 3), (2, 2), (0, 0)), build.node(around, inner))
    return build.graph(*outputs, both, pooled)


@case
def pad_into_concat() -> ir.Graph:
    build = Build(7, 5, 6)
    padded = build.node(ir.Pad((1, 2, 0, 0), 3.0), "x")
    grown = build.conv(build.node(ir.Pad((1, 2, 0, 0), 0.25), build.conv("x", 9)), 4)
    _in_place(build, grown, padded)
    return build.graph()


@case
def input_of_bytes() -> ir.Graph:
    """An input of bytes, scaled or not, with margins of all kinds; part of its channels."""
    build = Build(5, 6, 7, of_bytes=True)
    outputs = _pads(build, "x")
    part = build.node(ir.Pad((0, 1, 0, 0), 9.0, build.param(3), build.param(3)), build.slice("x", 1, 3))
    return build.graph(*outputs, build.conv(outputs[-1], 6, (3, 3)), part)


@case
def bytes_stem() -> ir.Graph:
    """An image's three bytes a pixel, normalised in front of a padded convolution."""
    build = Build(3, 21, 19, of_bytes=True)
    scale, shift = build.param(3), build.param(3)
    build.params[scale] /= 64.0
    numbers = build.node(ir.Pad((0, 0, 0, 0), 0.0, scale, shift), "x")
    build.conv(numbers, 32, (3, 3), stride=(2, 2), padding=(1, 1, 1, 1), bias=True, relu=True)
    return build.graph()


@case
def resize() -> ir.Graph:
    build = Build(5, 7, 9)
    sizes = [(13, 20), (4, 3), (7, 9)]
    outputs = [build.node(ir.Resize(size, align), "x") for size in sizes for align in (True, False)]
    return build.graph(*outputs)


@case
def embedding_head() -> ir.Graph:
    build = Build(33, 5, 4)
    features = build.linear(build.flat("x"), 41)
    return build.graph(build.node(ir.Normalize(1e-12), features), features)


@case
def linear_over_image() -> ir.Graph:
    build = Build(6, 3, 5)
    flat = build.node(ir.Flatten(), "x")
    weight = build.param(19, 90)
    build.node(ir.Linear(weight, build.param(19), relu=True), flat)
    return build.graph()


@case
def repeated_outputs() -> ir.Graph:
    """The input, an inner value twice, a piece of a concat and a flattened image are all returned."""
    build = Build(6, 4, 5)
    a, b = build.conv("x", 5, relu=True), build.conv("x", 4, (3, 3), bias=True)
    joined = _in_place(build, a, b)
    last = build.conv(joined, 3, (3, 3))
    return build.graph("x", a, joined, a, build.slice(joined, 2, 5), build.node(ir.Flatten(), last), last)


FUNCTIONS = (
    Activation("sigmoid"),
    Activation("tanh"),
    Activation("silu"),
    Activation("gelu"),
    Activation("gelu_tanh"),
    Activation("hardsigmoid"),
    Activation("hardswish"),
    Activation("elu", 0.75),
    Activation("leaky_relu", 0.125),
    Activation("clamp", -0.5, 0.75),
    Activation("clamp_min", -0.25),
    Activation("clamp_max", beta=0.5),
)


@case
def functions() -> ir.Graph:
    """Each function by itself, of small numbers and of large ones."""
    build = Build(13, 5, 7)
    wide = build.affine("x", scale=40.0)
    outputs = [build.node(ir.Activate(f), value) for f in FUNCTIONS for value in ("x", wide)]
    prelu = Activation("prelu", slope=build.param(13))
    positive = build.node(ir.Activate(Activation("clamp_min", 0.01)), "x")
    powers = [build.node(ir.Activate(Activation("power", p)), positive) for p in (3.0, 1 / 3, 0.5, -0.75)]
    return build.graph(*outputs, build.node(ir.Activate(prelu), wide), *powers)


@case
def conv_functions() -> ir.Graph:
    """Functions in a convolution's epilogue: behind a residual, and another for each segment."""
    build = Build(19, 9, 7)
    merged = build.conv("x", (13, 6, 11), bias=True)
    op = build.nodes[-1].op
    assert isinstance(op, ir.Conv2d)
    functions = (Activation("silu"), Activation("prelu", slope=build.param(6)), Activation("hardswish"))
    segments = tuple(ir.Segment(s.channels, False, f) for s, f in zip(op.segments, functions, strict=True))
    build.nodes[-1] = ir.Node(merged, replace(op, segments=segments), ("x",))
    a, b, c = (build.slice(merged, start, width) for start, width in [(0, 13), (13, 6), (19, 11)])
    added = build.conv(c, 11, (3, 3), bias=True, residual=c)
    op = build.nodes[-1].op
    assert isinstance(op, ir.Conv2d)
    gelu = replace(op, segments=(ir.Segment(11, False, Activation("gelu")),))
    build.nodes[-1] = ir.Node(added, gelu, build.nodes[-1].inputs)
    whole = _in_place(build, a, added, b)
    pooled = build.node(ir.AdaptiveAvgPool((1, 1)), whole)
    head = ir.Linear(build.param(5, 30), build.param(5), activation=Activation("sigmoid"))
    return build.graph(whole, build.node(head, build.flat(pooled)))


@case
def depthwise() -> ir.Graph:
    build = Build(21, 12, 15)
    outputs = []
    for kernel, stride, padding, dilation, relu in [
        ((3, 3), (1, 1), (1, 1, 1, 1), (1, 1), True),
        ((3, 3), (2, 2), (1, 0, 1, 0), (1, 1), False),
        ((5, 4), (2, 3), (2, 1, 2, 2), (1, 2), True),
        ((1, 7), (1, 1), (0, 3, 0, 3), (1, 1), False),
    ]:
        weight, bias = build.param(21, 1, *kernel), None if relu else build.param(21)
        outputs.append(build.node(ir.DepthwiseConv2d(weight, bias, stride, padding, dilation, relu), "x"))
    silu = ir.DepthwiseConv2d(
        build.param(21, 1, 3, 3), build.param(21), (1, 1), (1, 1, 1, 1), (1, 1), activation=Activation("silu")
    )
    both = _in_place(build, build.node(silu, outputs[0]), build.conv("x", 6, relu=True))
    inner = build.slice(both, 5, 17)
    last = ir.DepthwiseConv2d(build.param(17, 1, 3, 3), build.param(17), (1, 1), (0, 0, 0, 0), (1, 1))
    return build.graph(*outputs, both, build.node(last, inner))


@case
def adaptive_pools() -> ir.Graph:
    """Windows of several sizes, some of which overlap; more outputs than pixels."""
    build = Build(11, 7, 10)
    kinds = (ir.AdaptiveAvgPool, ir.AdaptiveMaxPool)
    return build.graph(*(build.node(kind(size), "x") for kind in kinds for size in [(3, 4), (7, 3), (5, 13), (1, 1)]))


@case
def softmax() -> ir.Graph:
    """Over logits, and over the channels of each pixel; far from zero, where only a shifted exponential is finite."""
    build = Build(37, 4, 5)
    far = build.affine("x", scale=60.0)
    scores = build.linear(build.flat("x"), 41)
    heads = [build.node(ir.Softmax(log), value) for log in (False, True) for value in ("x", far, scores)]
    return build.graph(*heads)


@case
def local_response() -> ir.Graph:
    build = Build(23, 5, 6)
    wide = build.affine("x", scale=30.0)
    norms = [(5, 1e-4, 0.75, 1.0), (4, 0.02, 0.5, 2.0), (1, 0.1, 1.0, 1.0), (51, 0.3, 0.75, 0.5)]
    return build.graph(*(build.node(ir.LocalResponseNorm(*n), value) for n in norms for value in ("x", wide)))


@case
def gates() -> ir.Graph:
    """Squeeze and excitation, a gate for each pixel, and one of the same size that is a slice."""
    build = Build(18, 6, 7)
    pooled = build.node(ir.AdaptiveAvgPool((1, 1)), "x")
    squeezed = build.conv(pooled, 5, bias=True, relu=True)
    excited = build.node(ir.Activate(Activation("sigmoid")), build.conv(squeezed, 18, bias=True))
    flat = build.node(ir.Activate(Activation("sigmoid")), build.linear(build.flat("x"), 18))
    plane = build.node(ir.Activate(Activation("hardsigmoid")), build.conv("x", 1, (3, 3), bias=True))
    both = _in_place(build, build.conv("x", 18, relu=True), build.conv("x", 18, (3, 3)))
    gated = build.node(ir.Gate(), build.slice(both, 18, 18), build.slice(both, 0, 18))
    outputs = [build.node(ir.Gate(), "x", gate) for gate in (excited, flat, plane)]
    return build.graph(*outputs, gated, build.relu(outputs[0]))
