"""PyTorch's best way to run each step that is no convolution, for the ``torch`` backend.

A kernel maps NCHW tensors in channels_last memory format to one; it is built once per step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F

from inception_fast.backends.reference import canonical, dense_window, margins, padded, pooled
from inception_fast.plan.plan import (
    Convolution,
    DepthwiseStep,
    GateStep,
    LocalResponseStep,
    NormalizeStep,
    PadStep,
    PointwiseStep,
    PoolStep,
    ResizeStep,
    SoftmaxStep,
)

Pair = tuple[int, int]
PlainStep = (
    DepthwiseStep
    | PoolStep
    | PointwiseStep
    | PadStep
    | ResizeStep
    | NormalizeStep
    | SoftmaxStep
    | LocalResponseStep
    | GateStep
)


def plain_kernel(
    step: PlainStep, constants: Mapping[str, torch.Tensor], dtype: torch.dtype, source: Pair, size: Pair
) -> Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]:
    """A step without a matrix product as a function of its operands, the second of which only a pointwise one and a
    gate have.

    It may return its first operand. The activation is the caller's.

    Args:
        source, size: (height, width) of the first operand and of the result.
    """
    match step:
        case PoolStep():
            bias = None if step.bias is None else constants[step.bias].to(dtype).view(-1, 1, 1)
            kernel = pool_kernel(step, source, size, bias)
        case PointwiseStep():
            vectors = {k: constants[k] for k in (step.scale, step.shift) if k is not None}
            typed = {k: v.to(dtype) for k, v in vectors.items()}
            if all(bool((typed[k].isinf() == v.isinf()).all()) for k, v in vectors.items()):
                return pointwise_kernel(step, typed)
            wide = pointwise_kernel(step, vectors)
            return lambda x, other: wide(x.float(), None if other is None else other.float()).to(dtype)
        case PadStep():
            kernel = pad_kernel(step, constants, dtype, size)
        case ResizeStep():
            kernel = resize_kernel(step, size)
        case NormalizeStep():
            kernel = normalize_kernel(step)
        case DepthwiseStep():
            kernel = depthwise_kernel(step, constants, dtype, size)
        case SoftmaxStep():
            kernel = (lambda x: F.log_softmax(x, dim=1)) if step.log else (lambda x: F.softmax(x, dim=1))
        case LocalResponseStep():
            kernel = local_response_kernel(step)
        case GateStep():
            return gate_kernel
    return lambda x, _: kernel(x)


def pool_kernel(step: PoolStep, source: Pair, size: Pair, bias: torch.Tensor | None) -> Callable[..., torch.Tensor]:
    """Pooling by the library where one of its two ways to round the size gives ``size``, else over a padded image; the
    bias is added, the ReLU is the caller's.
    """
    if step.adaptive:
        return lambda x: (F.adaptive_max_pool2d if step.mode == "max" else F.adaptive_avg_pool2d)(x, size)
    ceil = next((mode for mode in (False, True) if _library_pools(step, source, size, mode)), None)
    if step.mode == "max":
        if ceil is not None and (step.padding != (0, 0) or ceil):
            return lambda x: F.max_pool2d(x, step.kernel, step.stride, step.padding, ceil_mode=bool(ceil))
        pool = separable_max_pool(step.kernel, step.stride, size)
        pads = _pool_pads(step, source, size)
        return (lambda x: pool(F.pad(x, pads, value=-math.inf))) if any(pads) else pool
    if step.kernel == source and step.padding == (0, 0) and size == (1, 1):
        average: Callable[[torch.Tensor], torch.Tensor] = lambda x: x.mean((2, 3), keepdim=True)  # noqa: E731
    elif ceil is not None:
        count = step.divisor == "window"
        average = lambda x: F.avg_pool2d(x, step.kernel, step.stride, step.padding, bool(ceil), count)  # noqa: E731
    else:
        average = _padded_average(step, source, size)
    if bias is None:
        return average
    return lambda x: average(x).add_(bias)


def _library_pools(step: PoolStep, source: Pair, size: Pair, ceil: bool) -> bool:
    """Whether PyTorch's pool computes the step with this rounding of its size; `pooling_shape.h` there has the rule."""
    for extent, out, kernel, stride, begin, end in zip(
        source, size, step.kernel, step.stride, step.padding, step.padding_end, strict=True
    ):
        span = extent + 2 * begin - kernel
        count = -(-span // stride) + 1 if ceil else span // stride + 1
        if ceil and (count - 1) * stride >= extent + begin:
            count -= 1
        if span < 0 or count != out or begin > kernel // 2:
            return False
        # The library counts as much padding at the end as at the beginning.
        reach = (out - 1) * stride - begin + kernel
        counted = min(reach, extent + begin) == min(reach, extent + end)
        if step.mode == "avg" and step.divisor == "window" and not counted:
            return False
    return True


def _pool_pads(step: PoolStep, source: Pair, size: Pair) -> list[int]:
    """(left, right, top, bottom) pixels with which the windows fit; negative ones are left out."""
    pads: list[int] = []
    for i in (1, 0):
        pads += [step.padding[i], (size[i] - 1) * step.stride[i] + step.kernel[i] - step.padding[i] - source[i]]
    return pads


def _padded_average(step: PoolStep, source: Pair, size: Pair) -> Callable[[torch.Tensor], torch.Tensor]:
    """Sums over the padded image, each divided by its own count; in float32, which half precision's sums may need."""
    _, counts = pooled(torch.ones(1, 1, *source, dtype=torch.float64, device="cpu"), step, size)
    assert counts is not None
    pads = _pool_pads(step, source, size)

    def average(x: torch.Tensor) -> torch.Tensor:
        wide = x if x.dtype == torch.float64 else x.float()
        sums = F.avg_pool2d(F.pad(wide, pads), step.kernel, step.stride, divisor_override=1)
        return (sums / counts.to(sums)).to(x.dtype)

    return average


def separable_max_pool(kernel: Pair, stride: Pair, size: Pair) -> Callable[[torch.Tensor], torch.Tensor]:
    """An unpadded max pool as maxima of shifted views, rows first; the library's own also records where they are."""

    def along(x: torch.Tensor, dim: int) -> torch.Tensor:
        step, out = stride[dim - 2], size[dim - 2]
        views = [x.narrow(dim, k, (out - 1) * step + 1) for k in range(kernel[dim - 2])]
        strided = [v[:, :, ::step] if dim == 2 else v[..., ::step] for v in views]
        if len(strided) == 1:
            return strided[0]
        result = torch.maximum(strided[0], strided[1])
        for view in strided[2:]:
            torch.maximum(result, view, out=result)
        return result

    if kernel == (1, 1):
        # With nothing to compare they are views of the operand, which is the caller's.
        return lambda x: along(along(x, 2), 3).clone()
    return lambda x: along(along(x, 2), 3)


def pointwise_kernel(step: PointwiseStep, constants: Mapping[str, torch.Tensor]) -> Callable[..., torch.Tensor]:
    """``x * scale + shift + other``, with ``scale`` and ``shift`` as ``[C, 1, 1]``."""
    scale = None if step.scale is None else constants[step.scale].view(-1, 1, 1)
    shift = None if step.shift is None else constants[step.shift].view(-1, 1, 1)

    def run(x: torch.Tensor, other: torch.Tensor | None) -> torch.Tensor:
        if scale is not None and shift is not None:
            x = torch.addcmul(shift, x, scale)
        elif scale is not None:
            x = x * scale
        elif shift is not None:
            x = x + shift
        return x if other is None else x + other

    return run


def pad_kernel(
    step: PadStep, constants: Mapping[str, torch.Tensor], dtype: torch.dtype, size: Pair
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Of bytes or numbers; what is scaled is rounded once."""
    vectors = [None if name is None else constants[name].view(-1, 1, 1) for name in (step.scale, step.shift)]
    wide = constants[step.scale].dtype if step.scale is not None else dtype

    def run(x: torch.Tensor) -> torch.Tensor:
        scale, shift = vectors
        x = x.to(wide)
        x = x if scale is None else x * scale
        x = (x if shift is None else x + shift).to(dtype)
        return F.pad(x, margins(step, x.shape, size), value=step.value)

    return run


def resize_kernel(step: ResizeStep, size: Pair) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: F.interpolate(x, size, mode="bilinear", align_corners=step.align_corners)


def normalize_kernel(step: NormalizeStep) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: F.normalize(x, dim=1, eps=step.eps)


def depthwise_kernel(
    step: DepthwiseStep, constants: Mapping[str, torch.Tensor], dtype: torch.dtype, size: Pair
) -> Callable[[torch.Tensor], torch.Tensor]:
    channels = step.source.channels
    conv = Convolution(step.weight, step.bias, 1, channels, step.taps, step.stride)
    window, origin = dense_window(conv, constants[step.weight].to(dtype).t().unsqueeze(2))
    weight, bias = canonical(window), None if step.bias is None else constants[step.bias].to(dtype)

    def run(x: torch.Tensor) -> torch.Tensor:
        image = padded(x, conv, origin, tuple(weight.shape[2:]), size)
        return F.conv2d(image, weight, bias, step.stride, groups=channels)

    return run


def gate_kernel(x: torch.Tensor, gate: torch.Tensor | None) -> torch.Tensor:
    assert gate is not None
    return x * gate


def local_response_kernel(step: LocalResponseStep) -> Callable[[torch.Tensor], torch.Tensor]:
    """In float32, for the library has none in half precision on a CPU."""

    def run(x: torch.Tensor) -> torch.Tensor:
        wide = x if x.dtype == torch.float64 else x.float()
        return F.local_response_norm(wide, step.size, step.alpha, step.beta, step.k).to(x.dtype)

    return run
