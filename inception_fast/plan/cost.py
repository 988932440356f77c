"""What a step costs per image: arithmetic and the memory it must touch."""

from __future__ import annotations

from functools import partial

from typing_extensions import assert_never

from inception_fast.plan.plan import (
    Convolution,
    ConvStep,
    DepthwiseStep,
    GateStep,
    LocalResponseStep,
    NormalizeStep,
    PadStep,
    PairStep,
    Plan,
    PointwiseStep,
    PoolStep,
    ResizeStep,
    Slice,
    SoftmaxStep,
    Step,
    constants_of,
    destinations_of,
    sources_of,
)


def item_size(dtype: str) -> int:
    """Bytes of an element of a Plan's dtype."""
    return {"float64": 8, "float32": 4, "int32": 4, "uint8": 1, "int8": 1}.get(dtype, 2)


def operations(plan: Plan, step: Step) -> int:
    """Floating-point operations per image; a multiply-add is two, and padding counts as if it were pixels."""
    target = plan.buffers[destinations_of(step)[0].slice.buffer]
    pixels = target.height * target.width
    channels = sum(d.slice.channels for d in destinations_of(step))
    match step:
        case ConvStep():
            return 2 * pixels * _terms(step.conv)
        case PairStep():
            return 2 * (step.middle_height * step.middle_width * _terms(step.first) + pixels * _terms(step.second))
        case PoolStep():
            return pixels * channels * step.kernel[0] * step.kernel[1]
        case DepthwiseStep():
            return 2 * pixels * channels * len(step.taps)
        case LocalResponseStep():
            return 2 * pixels * channels * step.size
        case PointwiseStep() | PadStep() | ResizeStep() | NormalizeStep() | SoftmaxStep() | GateStep():
            return pixels * channels
        case _:
            assert_never(step)


def elements_written(plan: Plan, step: Step) -> int:
    """Elements of activations that a step writes per image."""
    return sum(_elements(plan, d.slice) for d in destinations_of(step))


def constant_bytes(plan: Plan, step: Step) -> int:
    """Bytes of weights and biases, read once a batch."""
    total = 0
    for name in constants_of(step):
        constant, count = plan.constants[name], 1
        for extent in constant.shape:
            count *= extent
        total += count * item_size(constant.dtype)
    return total


def traffic(plan: Plan, step: Step, batch: int) -> int:
    """Bytes that a step must move for a batch if every operand is read and every result written once."""
    pieces = [*sources_of(step), *(d.slice for d in destinations_of(step))]
    return batch * sum(map(partial(_bytes, plan), pieces)) + constant_bytes(plan, step)


def _terms(conv: Convolution) -> int:
    return conv.out_channels * conv.in_channels * len(conv.taps)


def _bytes(plan: Plan, piece: Slice) -> int:
    dtypes = {"input": plan.input_dtype, "output": plan.io_dtype, "arena": plan.dtype}
    return _elements(plan, piece) * item_size(dtypes[plan.buffers[piece.buffer].home])


def _elements(plan: Plan, piece: Slice) -> int:
    buffer = plan.buffers[piece.buffer]
    return buffer.height * buffer.width * piece.channels
