"""Steps in a few words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from itertools import takewhile

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
    SoftmaxStep,
    Step,
    destinations_of,
)

TIMES = "\N{MULTIPLICATION SIGN}"


def window(conv: Convolution | DepthwiseStep) -> str:
    """``3x3``, ``1x7``, with ``/2`` behind it for a stride, and the number of taps where the window has holes."""
    rows, columns = ({tap[axis] for tap in conv.taps} for axis in (0, 1))
    size = f"{max(rows) - min(rows) + 1}{TIMES}{max(columns) - min(columns) + 1}"
    holes = f" ({len(conv.taps)} taps)" if len(conv.taps) < len(rows) * len(columns) else ""
    return size + holes + stride(conv.stride)


def stride(pair: tuple[int, int]) -> str:
    """``/2``; nothing for a stride of one."""
    if pair == (1, 1):
        return ""
    return f"/{pair[0]}" if pair[0] == pair[1] else f"/{pair[0]}{TIMES}{pair[1]}"


def headline(plan: Plan, step: Step) -> str:
    """What a step computes."""
    source, target = (plan.buffers[piece.buffer] for piece in (step.source, destinations_of(step)[0].slice))
    whole = (target.height, target.width) == (1, 1)
    match step:
        case ConvStep():
            return (
                "linear"
                if whole and source.height * source.width == len(step.conv.taps)
                else f"{window(step.conv)} conv"
            )
        case PairStep():
            return f"{window(step.first)} ▸ {window(step.second)}"
        case DepthwiseStep():
            return f"{window(step)} depthwise conv"
        case PoolStep(adaptive=True):
            return f"adaptive {step.mode} pool"
        case PoolStep():
            if whole and step.kernel == (source.height, source.width):
                return f"global {step.mode} pool"
            return f"{step.kernel[0]}{TIMES}{step.kernel[1]}{stride(step.stride)} {step.mode} pool"
        case PointwiseStep():
            parts = ("scale" * (step.scale is not None), "shift" * (step.shift is not None), "add" * bool(step.other))
            return " + ".join(p for p in parts if p) or _activations(step) or "copy"
        case PadStep():
            return "from bytes" if plan.buffers[step.source.buffer].dtype else "pad"
        case ResizeStep():
            return "resize"
        case NormalizeStep():
            return "L2 norm"
        case SoftmaxStep():
            return "log softmax" if step.log else "softmax"
        case LocalResponseStep():
            return "local response norm"
        case GateStep():
            return "gate"


def epilogue(step: Step) -> str:
    """What is fused behind it: ``+ x`` for a residual, ``ReLU``, or ``ReLU 3/4`` where not all destinations have it."""
    residual = "+ x" if isinstance(step, ConvStep | PairStep) and step.residual is not None else ""
    return " ".join(part for part in (residual, _activations(step)) if part)


def _activations(step: Step) -> str:
    targets = destinations_of(step)
    names = Counter(d.activation.function if d.activation else "ReLU" for d in targets if d.relu or d.activation)
    return " ".join(
        name if count == len(targets) else f"{name} {count}/{len(targets)}" for name, count in names.items()
    )


def channels(step: Step) -> str:
    """``192→64``; a pair's has its intermediate in the middle."""
    out = sum(d.slice.channels for d in destinations_of(step))
    middle = f"→{step.first.out_channels}" if isinstance(step, PairStep) else ""
    return f"{step.source.channels}{middle}→{out}" if out != step.source.channels or middle else str(out)


def planes(plan: Plan, step: Step) -> str:
    """Height and width of what a step reads, and of what it writes where they differ."""
    source, target = (plan.buffers[piece.buffer] for piece in (step.source, destinations_of(step)[0].slice))
    return "→".join(dict.fromkeys(f"{b.height}{TIMES}{b.width}" for b in (source, target)))


def common_name(names: Collection[str]) -> str:
    """The module path that dotted names share; the first and the last where they share none."""
    listed = list(names)
    if len(listed) == 1:
        return listed[0].removesuffix(".relu")
    columns = zip(*(name.split(".") for name in listed), strict=False)
    shared = [parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, columns)]
    if shared:
        return ".".join(shared)
    heads = [name.partition(".")[0] for name in (listed[0], listed[-1])]
    return " … ".join(heads)
