"""PyTorch's best way to run each kind of step, for the ``torch`` backend.

A kernel maps NCHW tensors in channels_last memory format to one; it is built once per step, with its constants packed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
import torch.nn.functional as F

from inception_fast.backends.reference import dense_window, window_padding
from inception_fast.plan.plan import Convolution, NormalizeStep, PointwiseStep, PoolStep, ResizeStep

Pair = tuple[int, int]
PlainStep = PoolStep | PointwiseStep | ResizeStep | NormalizeStep


class ConvKernel(Protocol):
    """``act(conv(x) + bias + residual)``, the ReLU applied where the kernel was built with it."""

    def __call__(self, x: torch.Tensor, residual: torch.Tensor | None) -> torch.Tensor: ...


class _PaddedConv:
    """What every convolution kernel shares: the dense window, and zeros that the library's symmetric padding cannot
    say.
    """

    def __init__(self, conv: Convolution, constants: Mapping[str, torch.Tensor], source: Pair, size: Pair) -> None:
        window, origin = dense_window(conv, constants[conv.weight])
        top, left, bottom, right = window_padding(conv, origin, tuple(window.shape[2:]), source, size)
        # A library rounds the last partial stride down, so the end needs no more than the beginning already gives.
        spare = [
            (source[i] + 2 * begin - window.shape[2 + i]) // conv.stride[i] + 1 == size[i] and begin >= 0
            for i, begin in enumerate((top, left))
        ]
        symmetric = all(spare)
        self.padding = [top, left] if symmetric else [0, 0]
        self.pads = None if symmetric else (left, right, top, bottom)
        self.window, self.stride = window, list(conv.stride)
        self.bias = None if conv.bias is None else constants[conv.bias]

    def pad(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.pads is None else F.pad(x, self.pads)


class AtenConv(_PaddedConv):
    """``aten::conv2d``, then the epilogue; for dtypes and devices without a fused kernel."""

    def __init__(self, conv: Convolution, constants: Mapping[str, torch.Tensor], source: Pair, size: Pair, relu: bool):
        super().__init__(conv, constants, source, size)
        self.weight = self.window.contiguous(memory_format=torch.channels_last)
        self.bias = None if self.bias is None else self.bias.to(self.weight.dtype)
        self.relu = relu

    def __call__(self, x: torch.Tensor, residual: torch.Tensor | None) -> torch.Tensor:
        out = F.conv2d(self.pad(x), self.weight, self.bias, self.stride, self.padding)
        if residual is not None:
            out += residual
        return out.relu_() if self.relu else out


class OneDnnConv(_PaddedConv):
    """oneDNN with the weight in its own blocked layout, bias, residual and ReLU in the epilogue.

    Args:
        batch: the layout is asked of the library for batches of this size; another may cost a reordering at each call.
    """

    def __init__(
        self,
        conv: Convolution,
        constants: Mapping[str, torch.Tensor],
        source: Pair,
        size: Pair,
        relu: bool,
        batch: int = 1,
    ) -> None:
        super().__init__(conv, constants, source, size)
        left, right, top, bottom = self.pads or (0, 0, 0, 0)
        shape = [batch, conv.in_channels, source[0] + top + bottom, source[1] + left + right]
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(
            self.window, self.padding, self.stride, [1, 1], 1, shape
        )
        self.plain_unary = "relu" if relu else "none"
        self.unary = "relu" if relu else None
        # Unlike the plain form, the one with a residual wants the bias in the dtype of the rest.
        self.rounded_bias = None if self.bias is None else self.bias.to(self.window.dtype)
        del self.window

    def __call__(self, x: torch.Tensor, residual: torch.Tensor | None) -> torch.Tensor:
        # The overloads by name: resolving them costs as much as a small convolution.
        if self.pads is not None:
            x = self.pad(x)
        if residual is None:
            return torch.ops.mkldnn._convolution_pointwise.default(
                x, self.weight, self.bias, self.padding, self.stride, [1, 1], 1, self.plain_unary, [], ""
            )
        return torch.ops.mkldnn._convolution_pointwise.binary(
            x,
            residual,
            self.weight,
            self.rounded_bias,
            self.padding,
            self.stride,
            [1, 1],
            1,
            "add",
            1.0,
            self.unary,
            [],
            "",
        )


class CudnnConv(_PaddedConv):
    """cuDNN's fused convolution + bias (+ residual) + ReLU; without a ReLU it has no fused form."""

    def __init__(self, conv: Convolution, constants: Mapping[str, torch.Tensor], source: Pair, size: Pair, relu: bool):
        super().__init__(conv, constants, source, size)
        self.weight = self.window.contiguous(memory_format=torch.channels_last)
        bias = self.weight.new_zeros(conv.out_channels) if self.bias is None else self.bias
        self.bias = bias.to(self.weight.dtype)
        self.relu = relu

    def __call__(self, x: torch.Tensor, residual: torch.Tensor | None) -> torch.Tensor:
        x, geometry = self.pad(x), (self.bias, self.stride, self.padding, [1, 1], 1)
        if not self.relu:
            out = torch.conv2d(x, self.weight, *geometry)
            return out if residual is None else out.add_(residual)
        if residual is None:
            return torch.cudnn_convolution_relu(x, self.weight, *geometry)
        dense = residual.contiguous(memory_format=torch.channels_last)
        return torch.cudnn_convolution_add_relu(x, self.weight, dense, 1.0, *geometry)


def conv_class(device: torch.device, dtype: torch.dtype) -> type[AtenConv] | type[OneDnnConv] | type[CudnnConv]:
    """The best convolution that the library has for a device and dtype."""
    if device.type == "cuda" and torch.backends.cudnn.is_available() and dtype != torch.float64:
        return CudnnConv
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return AtenConv
    packs = {
        torch.float32: True,
        torch.bfloat16: torch.ops.mkldnn._is_mkldnn_bf16_supported(),
        torch.float16: torch.ops.mkldnn._is_mkldnn_fp16_supported(),
    }
    return OneDnnConv if packs.get(dtype, False) else AtenConv


def plain_kernel(
    step: PlainStep, constants: Mapping[str, torch.Tensor], dtype: torch.dtype, source: Pair, size: Pair
) -> Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]:
    """A step without a convolution as a function of its operands, the second of which only a pointwise one has.

    It may return its first operand. The ReLU is the caller's.

    Args:
        source, size: (height, width) of the first operand and of the result.
    """
    match step:
        case PoolStep():
            bias = None if step.bias is None else constants[step.bias].to(dtype).view(-1, 1, 1)
            kernel = pool_kernel(step, source, size, bias)
        case PointwiseStep():
            typed = {k: constants[k].to(dtype) for k in (step.scale, step.shift) if k is not None}
            return pointwise_kernel(step, typed)
        case ResizeStep():
            kernel = resize_kernel(step, size)
        case NormalizeStep():
            kernel = normalize_kernel(step)
    return lambda x, _: kernel(x)


def pool_kernel(step: PoolStep, source: Pair, size: Pair, bias: torch.Tensor | None) -> Callable[..., torch.Tensor]:
    """Pooling with ``ceil_mode`` where the size asks for it; the bias is added, the ReLU is the caller's."""
    floor = [(source[i] + 2 * step.padding[i] - step.kernel[i]) // step.stride[i] + 1 for i in (0, 1)]
    ceil = floor != list(size)
    if step.mode == "max":
        if step.padding == (0, 0) and not ceil:
            return separable_max_pool(step.kernel, step.stride, size)
        return lambda x: F.max_pool2d(x, step.kernel, step.stride, step.padding, ceil_mode=ceil)
    if step.kernel == source and step.padding == (0, 0):
        average: Callable[[torch.Tensor], torch.Tensor] = lambda x: x.mean((2, 3), keepdim=True)  # noqa: E731
    else:
        count = step.divisor == "window"
        average = lambda x: F.avg_pool2d(x, step.kernel, step.stride, step.padding, ceil, count)  # noqa: E731
    if bias is None:
        return average
    return lambda x: average(x).add_(bias)


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


def resize_kernel(step: ResizeStep, size: Pair) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: F.interpolate(x, size, mode="bilinear", align_corners=step.align_corners)


def normalize_kernel(step: NormalizeStep) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: F.normalize(x, dim=1, eps=step.eps)
