"""PyTorch's ways to run a convolution, for the ``torch`` backend, and which of them a layer can be trusted with.

Libraries have faults in corners that few networks reach (``docs/architecture.md`` names two), and a kernel that takes
prepacked weights takes their layout on trust. So each kernel is held against the convolution's definition when it is
built, and one that fails gives way to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F

from inception_fast.backends.reference import canonical, dense_window, padded, window_padding
from inception_fast.errors import PlanError
from inception_fast.plan.plan import Convolution

Pair = tuple[int, int]

TOLERANCE = {torch.float64: 1e-10, torch.float32: 3e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
"""Relative L2 beyond which a kernel's result is wrong and not rounded: far above any rounding, far below a fault."""
TF32_TOLERANCE = 4e-3
BAND_ELEMENTS = 1 << 23
"""Limit of the unfolded image that the definition is computed from at a time."""


class ConvKernel(Protocol):
    """``act(conv(x) + bias + residual)``, the ReLU applied where the kernel was built with it.

    ``x`` and ``residual`` are NCHW tensors, in channels_last memory format where they have more than one channel.
    """

    def __call__(self, x: torch.Tensor, residual: torch.Tensor | None) -> torch.Tensor: ...


MakeConv = Callable[[Convolution, Mapping[str, torch.Tensor], Pair, Pair, bool], ConvKernel]
"""From a convolution, its constants, (height, width) of source and result, and whether a ReLU follows."""


class _PaddedConv:
    """What every convolution kernel shares: the dense window, and zeros that the library's symmetric padding cannot
    say.
    """

    def __init__(self, conv: Convolution, constants: Mapping[str, torch.Tensor], source: Pair, size: Pair) -> None:
        window, origin = dense_window(conv, constants[conv.weight])
        top, left, _, _ = window_padding(conv, origin, tuple(window.shape[2:]), source, size)
        # A library rounds the last partial stride down, so the end needs no more than the beginning already gives. Of
        # windows that lie in the padding alone there are some over which oneDNN ends the process.
        symmetric = all(
            0 <= begin < window.shape[2 + i]
            and (source[i] + 2 * begin - window.shape[2 + i]) // conv.stride[i] + 1 == size[i]
            for i, begin in enumerate((top, left))
        )
        self.padding = [top, left] if symmetric else [0, 0]
        self.grow: Callable[[torch.Tensor], torch.Tensor] | None = None
        if not symmetric:
            self.grow = partial(padded, conv=conv, origin=origin, kernel=tuple(window.shape[2:]), size=size)
        self.window, self.stride = window, list(conv.stride)
        self.bias = None if conv.bias is None else constants[conv.bias]

    def pad(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.grow is None else self.grow(x)


class AtenConv(_PaddedConv):
    """``aten::conv2d``, then the epilogue.

    Args:
        memory_format: of image and weight.
    """

    def __init__(
        self,
        conv: Convolution,
        constants: Mapping[str, torch.Tensor],
        source: Pair,
        size: Pair,
        relu: bool,
        memory_format: torch.memory_format = torch.channels_last,
    ) -> None:
        super().__init__(conv, constants, source, size)
        self.dense = memory_format == torch.contiguous_format
        self.weight = canonical(self.window) if self.dense else self.window.contiguous(memory_format=memory_format)
        self.bias = None if self.bias is None else self.bias.to(self.weight.dtype)
        self.relu = relu

    def __call__(self, x: torch.Tensor, residual: torch.Tensor | None) -> torch.Tensor:
        x = self.pad(x)
        out = F.conv2d(canonical(x) if self.dense else x, self.weight, self.bias, self.stride, self.padding)
        if residual is not None:
            out += residual
        return out.relu_() if self.relu else out


class OneDnnConv(_PaddedConv):
    """oneDNN with the weight in its own blocked layout, bias, residual and ReLU in the epilogue. Its ReLU makes zero of
    NaN.

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
        image = self.pad(self.window.new_empty(batch, conv.in_channels, *source))
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(
            self.window, self.padding, self.stride, [1, 1], 1, list(image.shape)
        )
        self.plain_unary = "relu" if relu else "none"
        self.unary = "relu" if relu else None
        # Unlike the plain form, the one with a residual wants the bias in the dtype of the rest.
        self.rounded_bias = None if self.bias is None else self.bias.to(self.window.dtype)
        del self.window

    def __call__(self, x: torch.Tensor, residual: torch.Tensor | None) -> torch.Tensor:
        # The overloads by name: resolving them costs as much as a small convolution.
        x, geometry = self.pad(x), (self.padding, self.stride, [1, 1], 1)
        if residual is None:
            return torch.ops.mkldnn._convolution_pointwise.default(
                x, self.weight, self.bias, *geometry, self.plain_unary, [], ""
            )
        return torch.ops.mkldnn._convolution_pointwise.binary(
            x, residual, self.weight, self.rounded_bias, *geometry, "add", 1.0, self.unary, [], ""
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


def fused_conv(device: torch.device, dtype: torch.dtype) -> type[OneDnnConv] | type[CudnnConv] | None:
    """The library's fused convolution for a device and dtype, if it has one."""
    if device.type == "cuda" and torch.backends.cudnn.is_available() and dtype != torch.float64:
        return CudnnConv
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return None
    packs = {
        torch.float32: True,
        torch.bfloat16: torch.ops.mkldnn._is_mkldnn_bf16_supported(),
        torch.float16: torch.ops.mkldnn._is_mkldnn_fp16_supported(),
    }
    return OneDnnConv if packs.get(dtype, False) else None


PLAIN: tuple[MakeConv, ...] = (AtenConv, partial(AtenConv, memory_format=torch.contiguous_format))
"""What is tried after a fused convolution."""


class Proven:
    """Makes the first kernel of a list whose result is that of the convolution's definition.

    Args:
        makers: the fastest first.
        batch: of the images that a kernel is tried on.
        tf32: whether float32 products may be rounded to TF32.
    """

    def __init__(self, makers: Sequence[MakeConv], batch: int, tf32: bool = False) -> None:
        self._makers, self._batch, self._tf32 = makers, batch, tf32

    def __call__(
        self,
        conv: Convolution,
        constants: Mapping[str, torch.Tensor],
        source: Pair,
        size: Pair,
        relu: bool,
        adds: bool = False,
    ) -> ConvKernel:
        """A kernel, for calls with a residual where it ``adds``.

        Raises:
            PlanError: no kernel of PyTorch's gives the right result.
        """
        weight = constants[conv.weight]
        random = torch.Generator().manual_seed(0)
        shapes = [(conv.in_channels, *source)] + [(conv.out_channels, *size)] * adds
        x, *others = [
            torch.randn(self._batch, h, w, c, generator=random, dtype=torch.float32, device="cpu")
            .to(weight)
            .permute(0, 3, 1, 2)
            for c, h, w in shapes
        ]
        residual = others[0] if others else None
        sums = defined_conv(x, conv, constants, size)
        if residual is not None:
            sums += residual
        truth = sums.relu() if relu else sums
        # What overflows, or is infinite from the start, says nothing of the kernel.
        usable = sums.abs() < torch.finfo(weight.dtype).max / 4
        size_of_sums = max(sums[usable].norm().item(), _expected_norm(conv, constants, usable))
        allowed = (TF32_TOLERANCE if self._tf32 else TOLERANCE[weight.dtype]) * size_of_sums
        for make in self._makers:
            kernel = make(conv, constants, source, size, relu)
            result = kernel(x, residual)
            if result.shape == truth.shape and bool((result.to(truth) - truth)[usable].norm() <= allowed):
                return kernel
        shape = f"{conv.in_channels} to {conv.out_channels} channels, {source} to {size} pixels, stride {conv.stride}"
        raise PlanError(f"convolution {conv.weight} ({shape}): every kernel of PyTorch {torch.__version__} is wrong")


def _expected_norm(conv: Convolution, constants: Mapping[str, torch.Tensor], usable: torch.Tensor) -> float:
    """Of the sums at the ``usable`` places, over images of normal numbers: a few sums alone may happen to cancel."""
    energy = constants[conv.weight].double().square().sum((1, 2))
    if conv.bias is not None:
        energy = energy + constants[conv.bias].double().square()
    counts = usable.sum((0, 2, 3))
    return (energy[counts > 0] * counts[counts > 0]).sum().sqrt().item()


def defined_conv(x: torch.Tensor, conv: Convolution, constants: Mapping[str, torch.Tensor], size: Pair) -> torch.Tensor:
    """``conv(x) + bias`` as a matrix product over the unfolded image, band by band of rows: no library's convolution.

    Returns:
        ``[N, C_out, *size]``, float64 for a float64 weight, else float32.
    """
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    window, origin = dense_window(conv, constants[conv.weight].to(wide))
    kernel = (window.shape[2], window.shape[3])
    image = canonical(padded(x.to(wide), conv, origin, kernel, size))
    matrix = window.flatten(1)
    bands = []
    rows = max(1, BAND_ELEMENTS // (len(x) * matrix.shape[1] * size[1]))
    for begin in range(0, size[0], rows):
        end = min(begin + rows, size[0])
        lines = image[:, :, begin * conv.stride[0] : (end - 1) * conv.stride[0] + kernel[0]]
        columns = F.unfold(canonical(lines), kernel, stride=conv.stride)
        bands.append((matrix @ columns).unflatten(2, (end - begin, size[1])))
    sums = torch.cat(bands, 2)
    return sums if conv.bias is None else sums + constants[conv.bias].to(wide).view(-1, 1, 1)
