"""What must hold for a Plan before anything runs it. Backends rely on every rule here and check none of them again.

``csrc/plan/check.cpp`` holds the same rules for C++.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from math import prod

from inception_fast.activation import FUNCTIONS
from inception_fast.errors import PlanError
from inception_fast.plan.memory import lifetimes
from inception_fast.plan.plan import (
    ALIGNMENT,
    MOST_SENSITIVE,
    QUANTIZED,
    Buffer,
    Convolution,
    ConvStep,
    DepthwiseStep,
    Destination,
    GateStep,
    LocalResponseStep,
    NormalizeStep,
    PadStep,
    Pair,
    PairStep,
    Plan,
    PointwiseStep,
    PoolStep,
    ResizeStep,
    Slice,
    Step,
    constants_of,
    convolutions_of,
    destinations_of,
    sources_of,
)
from inception_fast.plan.winograd import AXES, winograd_taps

DTYPES = ("float32", "float16", "bfloat16", "float64", QUANTIZED)
MAX_EXTENT = 1 << 15
"""Largest height, width, stride, kernel, padding or tap offset: a product of two fits in 31 bits."""
MAX_EPS = float(1 << 15)
"""Largest eps of a normalisation: finite in every dtype."""
MAX_CHANNELS = 1 << 20
MAX_NUMBER = 3.4028234663852886e38
"""Largest number of an activation or a normalisation, either sign: float32's."""
MAX_ELEMENTS = (1 << 31) - 1
"""Largest buffer, arena, constant or intermediate, in elements per image: indices fit in 32 bits."""
MAX_COUNT = 4096
"""Largest number of buffers or steps: comparing all pairs of them takes seconds."""
MAX_QUANTIZED_TERMS = 1 << 16
"""Largest number of products in a quantised sum: 255 * 128 times it is less than 2^31."""
MAX_QUANTIZED_BIAS = (1 << 23) - 1
"""Largest bias of a quantised sum, either sign: beside those products it still fits in 32 bits."""
MAX_QUANTIZED_WINDOW = 1 << 23
"""Largest number of pixels in a quantised average: 255 times it is less than 2^31."""
SCALES = (2.0**-64, 2.0**64)
"""Smallest and largest scale of a quantised buffer: the ratio of two is a normal float32."""


def accumulator_dtype(dtype: str) -> str:
    """The dtype of biases, scales and sums in a Plan of ``dtype``; of a quantised convolution's only the scales."""
    return "float64" if dtype == "float64" else "float32"


def validate(plan: Plan) -> None:
    """Checks a Plan's invariants: sizes, slices, constants, order and memory.

    Raises:
        PlanError: names the first step or buffer that breaks a rule.
    """
    _require(plan.dtype in DTYPES, f"dtype {plan.dtype!r} is not one of {', '.join(DTYPES)}")
    for what, count in (("buffers", len(plan.buffers)), ("steps", len(plan.steps))):
        _require(count <= MAX_COUNT, f"{count} {what}, at most {MAX_COUNT} are allowed")
    _check_buffers(plan)
    _check_names("buffer", (b.name for b in plan.buffers))
    _check_names("step", (s.name for s in plan.steps))
    flat = [i for stage in plan.stages for i in stage]
    _require(flat == list(range(len(plan.steps))) and all(plan.stages), "stages do not list every step once, in order")
    for step in plan.steps:
        _check_step(plan, step)
    used = {name for step in plan.steps for name in constants_of(step)}
    _require(used == set(plan.constants), f"constants without a reader: {sorted(set(plan.constants) - used)[:3]}")
    _check_outputs(plan)
    _check_order(plan)
    _check_memory(plan)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise PlanError(message)


def _check_names(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        _require(bool(name) and name not in seen, f"{what} name {name!r} is empty or used twice")
        seen.add(name)


def _check_buffers(plan: Plan) -> None:
    _require(sum(b.home == "input" for b in plan.buffers) == 1, "there must be exactly one input buffer")
    _require(0 <= plan.arena <= MAX_ELEMENTS, f"arena of {plan.arena} elements")
    for b in plan.buffers:
        _require(_is_image(b.height, b.width, b.channels), f"buffer {b.name}: {b.height}x{b.width}x{b.channels}")
        if b.home == "arena":
            placed = b.offset % ALIGNMENT == 0 and 0 <= b.offset <= plan.arena - b.size
            _require(placed, f"buffer {b.name}: offset {b.offset} is not aligned inside the arena of {plan.arena}")
        else:
            _require(
                b.home in ("input", "output") and b.offset == 0, f"buffer {b.name}: home {b.home}, offset {b.offset}"
            )
        if b.dtype is not None:
            _require(b.home == "input" and b.dtype == "uint8", f"buffer {b.name}: home {b.home}, dtype {b.dtype}")
        if plan.dtype == QUANTIZED and b.home != "output":
            scaled = b.scale is not None and SCALES[0] <= b.scale <= SCALES[1] and 0 <= b.zero <= 255
            plain = b.dtype is None or (b.scale, b.zero) == (1.0, 0)
            _require(scaled and plain, f"buffer {b.name}: scale {b.scale}, zero {b.zero}")
        else:
            _require(b.scale is None and b.zero == 0, f"buffer {b.name}: a scale or a zero, but it is not quantised")


def _is_image(height: int, width: int, channels: int) -> bool:
    inside = 1 <= height <= MAX_EXTENT and 1 <= width <= MAX_EXTENT and 1 <= channels <= MAX_CHANNELS
    return inside and height * width * channels <= MAX_ELEMENTS


def _check_slice(plan: Plan, step: Step, piece: Slice) -> Buffer:
    _require(0 <= piece.buffer < len(plan.buffers), f"step {step.name}: no buffer {piece.buffer}")
    buffer = plan.buffers[piece.buffer]
    inside = piece.channels >= 1 and 0 <= piece.start <= buffer.channels - piece.channels
    _require(inside, f"step {step.name}: channels {piece.start}+{piece.channels} of buffer {buffer.name}")
    return buffer


def _check_constant(plan: Plan, step: Step, name: str | None, shape: tuple[int, ...], dtype: str) -> None:
    if name is not None:
        constant = plan.constants.get(name)
        right = constant is not None and constant.shape == shape and constant.dtype == dtype
        _require(right, f"step {step.name}: constant {name} is {constant}, expected {dtype} {shape}")
        _require(prod(shape) <= MAX_ELEMENTS, f"step {step.name}: constant {name} has {prod(shape)} elements")


def _check_taps(step: Step, taps: tuple[Pair, ...], stride: Pair) -> None:
    _require(0 < len(taps) == len(set(taps)), f"step {step.name}: taps are missing or repeated")
    _require(all(abs(d) <= MAX_EXTENT for tap in taps for d in tap), f"step {step.name}: a tap is out of range")
    _require(all(1 <= s <= MAX_EXTENT for s in stride), f"step {step.name}: stride {stride}")


def _check_activation(plan: Plan, step: Step, target: Destination) -> None:
    activation = target.activation
    if activation is None:
        return
    what = f"step {step.name}: activation {activation.function}"
    _require(isinstance(step, ConvStep | DepthwiseStep | PointwiseStep), f"{what} behind a {step.kind}")
    on_numbers = plan.dtype != QUANTIZED or not isinstance(step, ConvStep)
    _require(on_numbers, f"{what} behind a {step.kind} in a {plan.dtype} Plan")
    _require(not target.relu, f"{what} and a ReLU besides")
    _require(activation.function in FUNCTIONS, f"{what}, expected one of {', '.join(FUNCTIONS)}")
    _require(all(abs(n) <= MAX_NUMBER for n in (activation.alpha, activation.beta)), f"{what}: out of float32's range")
    _require((activation.slope is not None) == (activation.function == "prelu"), f"{what}: slope {activation.slope}")
    _check_constant(plan, step, activation.slope, (target.slice.channels,), accumulator_dtype(plan.dtype))


def _check_convolution(plan: Plan, step: Step, conv: Convolution) -> None:
    taps = conv.taps
    _check_taps(step, taps, conv.stride)
    channels = (conv.in_channels, conv.out_channels)
    _require(all(1 <= c <= MAX_CHANNELS for c in channels), f"step {step.name}: channels {channels}")
    quantized = plan.dtype == QUANTIZED
    _require((conv.scale is not None) == quantized, f"step {step.name}: scale {conv.scale} in a {plan.dtype} Plan")
    if (s := conv.sensitivity) is not None:
        _require(not quantized, f"step {step.name}: a sensitivity in a {plan.dtype} Plan")
        inside = all(0.0 <= value <= MOST_SENSITIVE for value in (s.noise, s.weights))
        _require(inside, f"step {step.name}: {s}, expected 0 to {MOST_SENSITIVE:g}")
    terms = len(taps) * conv.in_channels
    _require(
        not quantized or terms <= MAX_QUANTIZED_TERMS,
        f"step {step.name}: sums of {terms} products, int8 takes at most {MAX_QUANTIZED_TERMS}",
    )
    weights = len(taps)
    if conv.winograd is not None:
        what = f"step {step.name}: Winograd's F(2, 3) along {conv.winograd!r}"
        _require(quantized, f"{what} in a {plan.dtype} Plan, expected {QUANTIZED}")
        _require(conv.winograd in AXES, f"{what}, expected one of {', '.join(AXES)}")
        lines = winograd_taps(conv, conv.winograd)
        expected = "a rectangle, row by row, at least three long along the axis, and stride 1"
        _require(lines is not None, f"{what} of taps {taps[:9]}, stride {conv.stride}, expected {expected}")
        weights = 0 if lines is None else lines.weights
    weight, bias = ("int8", "int32") if quantized else (plan.dtype, accumulator_dtype(plan.dtype))
    _check_constant(plan, step, conv.weight, (conv.out_channels, weights, conv.in_channels), weight)
    _check_constant(plan, step, conv.bias, (conv.out_channels,), bias)
    _check_constant(plan, step, conv.scale, (conv.out_channels,), "float32")


def _check_step(plan: Plan, step: Step) -> None:
    reads = [(piece, _check_slice(plan, step, piece)) for piece in sources_of(step)]
    writes = [(d.slice, _check_slice(plan, step, d.slice)) for d in destinations_of(step)]
    _require(bool(writes), f"step {step.name}: no destination")
    source, target = reads[0][1], writes[0][1]
    channels = sum(piece.channels for piece, _ in writes)
    plane = (target.height, target.width)
    _require(all((b.height, b.width) == plane for _, b in writes), f"step {step.name}: destinations of different sizes")
    _require(all(b.home != "input" for _, b in writes), f"step {step.name}: writes the input")
    numbers = isinstance(step, PadStep) or all(b.dtype is None for _, b in reads)
    _require(numbers, f"step {step.name}: a {step.kind} reads bytes")
    for piece, buffer in reads[1:] if not isinstance(step, GateStep) else ():
        fits = (buffer.height, buffer.width, piece.channels) == (*plane, channels)
        _require(fits, f"step {step.name}: the second operand is {buffer.height}x{buffer.width}x{piece.channels}")

    if plan.dtype == QUANTIZED:
        _require(all(b.home != "output" for _, b in reads), f"step {step.name}: reads an output, which has no scale")
        _require(not isinstance(step, PairStep), f"step {step.name}: a pair, whose intermediate has no scale")
    for destination in destinations_of(step):
        _check_activation(plan, step, destination)
    for conv in convolutions_of(step):
        _check_convolution(plan, step, conv)
    accumulator = accumulator_dtype(plan.dtype)
    match step:
        case ConvStep():
            ends = (step.conv.in_channels, step.conv.out_channels)
            _require(ends == (step.source.channels, channels), f"step {step.name}: channels {ends}")
        case PairStep():
            chain = (step.first.in_channels, step.first.out_channels, step.second.out_channels)
            expected = (step.source.channels, step.second.in_channels, channels)
            _require(chain == expected, f"step {step.name}: channels {chain}, expected {expected}")
            middle = (step.middle_height, step.middle_width, step.first.out_channels)
            _require(_is_image(*middle), f"step {step.name}: intermediate {middle}")
        case PoolStep():
            _require(step.source.channels == channels, f"step {step.name}: changes the number of channels")
            _check_window(step, source, target)
            pixels = min(step.kernel[0], source.height) * min(step.kernel[1], source.width)
            _require(
                plan.dtype != QUANTIZED or step.mode != "avg" or pixels <= MAX_QUANTIZED_WINDOW,
                f"step {step.name}: averages of {pixels} pixels, int8 takes at most {MAX_QUANTIZED_WINDOW}",
            )
            _require(step.bias is None or step.mode == "avg", f"step {step.name}: a bias on a max pool")
            _check_constant(plan, step, step.bias, (channels,), accumulator)
        case DepthwiseStep():
            _check_taps(step, step.taps, step.stride)
            dtype = "float32" if plan.dtype == QUANTIZED else plan.dtype
            _check_constant(plan, step, step.weight, (len(step.taps), channels), dtype)
            _check_constant(plan, step, step.bias, (channels,), accumulator)
        case GateStep():
            piece, gate = reads[1]
            fits = (gate.height, gate.width) in (plane, (1, 1)) and piece.channels in (channels, 1)
            _require(fits, f"step {step.name}: the gate is {gate.height}x{gate.width}x{piece.channels}")
        case LocalResponseStep():
            _require(1 <= step.size <= MAX_CHANNELS, f"step {step.name}: size {step.size}")
            own = (step.alpha, step.beta, step.k)
            _require(all(abs(n) <= MAX_NUMBER for n in own), f"step {step.name}: alpha, beta, k {own}")
        case PointwiseStep():
            _check_constant(plan, step, step.scale, (channels,), accumulator)
            _check_constant(plan, step, step.shift, (channels,), accumulator)
        case PadStep():
            _check_padding(step, source, target)
            _check_constant(plan, step, step.scale, (channels,), accumulator)
            _check_constant(plan, step, step.shift, (channels,), accumulator)
        case NormalizeStep():
            _require(0 <= step.eps <= MAX_EPS, f"step {step.name}: eps {step.eps}")
    if not isinstance(step, ConvStep | PairStep):
        _require(step.source.channels == channels, f"step {step.name}: changes the number of channels")
        if not isinstance(step, DepthwiseStep | PoolStep | PadStep | ResizeStep):
            _require((source.height, source.width) == plane, f"step {step.name}: changes the image size")


def _check_window(step: PoolStep, source: Buffer, target: Buffer) -> None:
    """Every window must contain a pixel of the image, or its maximum or divisor would be undefined."""
    if step.adaptive:
        plain = (step.kernel, step.stride, step.padding, step.padding_end, step.divisor, step.bias)
        own = plain != ((1, 1), (1, 1), (0, 0), (0, 0), "inside", None)
        _require(not own, f"step {step.name}: an adaptive pool with a window of its own")
    sizes = () if step.adaptive else ((source.height, target.height), (source.width, target.width))
    for axis, (size, out) in enumerate(sizes):
        kernel, stride, before, after = (
            step.kernel[axis],
            step.stride[axis],
            step.padding[axis],
            step.padding_end[axis],
        )
        extents = 1 <= kernel <= MAX_EXTENT and 1 <= stride <= MAX_EXTENT and 0 <= after <= MAX_EXTENT
        fits = 0 <= before < kernel and (out - 1) * stride - before < size
        _require(extents and fits, f"step {step.name}: a window lies outside the image")
    known = step.mode in ("max", "avg") and step.divisor in ("window", "inside")
    _require(known, f"step {step.name}: mode {step.mode}, divisor {step.divisor}")


def _check_padding(step: PadStep, source: Buffer, target: Buffer) -> None:
    """All of the source must lie in the destination."""
    for before, size, out in zip(
        step.padding, (source.height, source.width), (target.height, target.width), strict=True
    ):
        _require(0 <= before <= MAX_EXTENT and before + size <= out, f"step {step.name}: leaves the destination")
    _require(abs(step.value) <= MAX_NUMBER, f"step {step.name}: value {step.value}")


def _check_outputs(plan: Plan) -> None:
    _require(bool(plan.outputs), "no outputs")
    for output in plan.outputs:
        known = 0 <= output.buffer < len(plan.buffers) and plan.buffers[output.buffer].home == "output"
        _require(known, f"output {output.buffer} is not an output buffer")
    returned = {o.buffer for o in plan.outputs}
    for index, buffer in enumerate(plan.buffers):
        _require(buffer.home != "output" or index in returned, f"output buffer {buffer.name} is never returned")


class _Channels:
    """Disjoint runs of channels, sorted and merged: a hostile Plan may name millions of channels in a few bytes."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []

    def contains(self, start: int, end: int) -> bool:
        before = bisect_right(self.starts, start)
        return before > 0 and self.ends[before - 1] >= end

    def add(self, start: int, end: int) -> bool:
        """Adds ``[start, end)``; False where a part of it was there already."""
        at = bisect_right(self.starts, start)
        if (at > 0 and self.ends[at - 1] > start) or (at < len(self.starts) and self.starts[at] < end):
            return False
        first = at - 1 if at > 0 and self.ends[at - 1] == start else at
        last = at + 1 if at < len(self.starts) and self.starts[at] == end else at
        self.starts[first:last] = [min([start, *self.starts[first:last]])]
        self.ends[first:last] = [max([end, *self.ends[first:last]])]
        return True


def _check_order(plan: Plan) -> None:
    """Every channel is written exactly once, and in an earlier stage than any that reads it."""
    written = [_Channels() for _ in plan.buffers]
    written[plan.input].add(0, plan.buffers[plan.input].channels)
    for stage in plan.stages:
        for step in (plan.steps[i] for i in stage):
            for piece in sources_of(step):
                ready = written[piece.buffer].contains(piece.start, piece.start + piece.channels)
                _require(ready, f"step {step.name}: reads {plan.buffers[piece.buffer].name} before it is written")
        for step in (plan.steps[i] for i in stage):
            for piece in (d.slice for d in destinations_of(step)):
                once = written[piece.buffer].add(piece.start, piece.start + piece.channels)
                _require(once, f"step {step.name}: writes {plan.buffers[piece.buffer].name} a second time")
    for index, buffer in enumerate(plan.buffers):
        whole = written[index].contains(0, buffer.channels)
        _require(whole, f"buffer {buffer.name}: some channels are never written")


def _check_memory(plan: Plan) -> None:
    lives = lifetimes(plan.steps, plan.stages)
    placed = sorted((b.offset, i) for i, b in enumerate(plan.buffers) if b.home == "arena")
    for position, (start, i) in enumerate(placed):
        end = start + plan.buffers[i].size
        for other_start, j in placed[position + 1 :]:
            if other_start >= end:
                break
            clash = f"buffers {plan.buffers[i].name} and {plan.buffers[j].name} share memory while both are live"
            _require(not lives[i].overlaps(lives[j]), clash)
