"""Prints what every kernel but the convolution compiles to; see :mod:`tests.triton.compiling`.

Arguments: architectures and dtypes, each comma-separated.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch

from inception_fast.activation import Activation
from inception_fast.plan.plan import (
    Buffer,
    Convolution,
    ConvStep,
    DepthwiseStep,
    Destination,
    LocalResponseStep,
    PoolStep,
    Slice,
)
from inception_fast.triton_kernels import (
    conv,
    conv_pool,
    depthwise,
    gate,
    group,
    local_response,
    normalize,
    pad,
    pair,
    pointwise,
    pool,
    pool_conv,
    resize,
    softmax,
)
from inception_fast.triton_kernels.functions import RELU, Function
from inception_fast.tuning.pooling import BAND, conv_pool_tile, pool_conv_tile
from inception_fast.tuning.problem import ConvConfig, ConvProblem
from tests.triton.compiling import compile_launch, recorded, write
from tests.triton.exact import relus, same_padding_taps


def _image(side: int, channels: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(8, side, side, channels, dtype=dtype)


def _packed(
    c_in: int, c_out: int, kernel: tuple[int, int], dtype: torch.dtype, stride: tuple[int, int] = (1, 1)
) -> conv.PackedConv:
    taps = same_padding_taps(kernel)
    constants = {"w": torch.empty(c_out, len(taps), c_in, dtype=dtype), "b": torch.empty(c_out)}
    return conv.pack_conv(Convolution("w", "b", c_in, c_out, taps, stride), constants, torch.device("cpu"))


def _pair(kernel: tuple[int, int], dtype: torch.dtype) -> None:
    first, second = _packed(160, 160, kernel, dtype), _packed(160, 192, kernel[::-1], dtype)
    tf32 = dtype == torch.float32
    pair.launch_pair(
        first, second, True, (17, 17), _image(17, 160, dtype), [_image(17, 192, dtype)], relus(True), None, tf32
    )


def _window(mode: str, kernel: int, stride: int = 1) -> PoolStep:
    place = Destination(Slice(1, 0, 192), True)
    return PoolStep("p", mode, Slice(0, 0, 192), place, (kernel, kernel), (stride, stride), (0, 0), (0, 0))  # type: ignore[arg-type]


def _pool(mode: str, side: int, out: int, kernel: int, dtype: torch.dtype) -> None:
    step = _window(mode, kernel)
    bias = None if mode == "max" else torch.empty(192)
    pool.launch_pool(step, _image(side, 192, dtype), _image(out, 192, dtype), bias)


def _problem(packed: conv.PackedConv, dtype: torch.dtype) -> ConvProblem:
    precision = "tf32" if dtype == torch.float32 else "fp16"
    return ConvProblem.of(packed.conv, 1, 1, str(dtype).removeprefix("torch."), precision)


def _pool_conv(c_out: int, dtype: torch.dtype) -> None:
    packed = _packed(480, c_out, (1, 1), dtype)
    tile, tf32 = pool_conv_tile(_problem(packed, dtype)), dtype == torch.float32
    source, target = _image(14, 480, dtype), _image(14, c_out, dtype)
    pool_conv.launch_pool_conv(_window("max", 3), packed, tile, source, [target], relus(True), tf32)


def _conv_pool(packed: conv.PackedConv, side: int, plane: int, dtype: torch.dtype) -> None:
    tile, tf32 = conv_pool_tile(_problem(packed, dtype)), dtype == torch.float32
    source, target = _image(side, packed.conv.in_channels, dtype), _image(plane // 2, 64, dtype)
    conv_pool.launch_conv_pool(packed, _window("max", 3, 2), tile, BAND, (plane, plane), source, target, True, tf32)


FUNCTIONS = (Function("gelu"), Function("silu"), Function("prelu", slope=torch.empty(48)), Function("power", 0.75))


def _conv(dtype: torch.dtype) -> None:
    targets, config = [_image(17, 48, dtype) for _ in FUNCTIONS], _tile(dtype)
    tf32 = dtype == torch.float32
    conv.launch_conv(_packed(160, 192, (3, 3), dtype), config, _image(17, 160, dtype), targets, FUNCTIONS, None, tf32)


def _group(dtype: torch.dtype) -> None:
    buffers, steps, constants = [], [], {}
    for index, activation in enumerate((Activation("gelu"), Activation("silu"), None)):
        buffers += [Buffer("", 17, 17, channels, "arena") for channels in (160, 192)]
        target = Destination(Slice(2 * index + 1, 0, 192), activation is None, activation)
        step = Convolution(f"w{index}", f"b{index}", 160, 192, same_padding_taps((3, 3)), (1, 1))
        steps.append(ConvStep("", Slice(2 * index, 0, 160), step, (target,)))
        constants |= {f"w{index}": torch.empty(192, 9, 160, dtype=dtype), f"b{index}": torch.empty(192)}
    packed = group.pack_group(steps, buffers, constants, torch.device("cpu"))
    group.launch_group(packed, _tile(dtype), torch.empty(64, dtype=dtype), 2, dtype == torch.float32)


def _tile(dtype: torch.dtype) -> ConvConfig:
    return ConvConfig(64, 64, 128 // dtype.itemsize)


def _depthwise(dtype: torch.dtype, function: Function, stride: int = 1) -> None:
    target = Destination(Slice(1, 0, 192), False)
    step = DepthwiseStep("", Slice(0, 0, 192), target, "w", "b", same_padding_taps((3, 3)), (stride, stride))
    packed = depthwise.pack_depthwise(step, torch.empty(9, 192), torch.empty(192))
    depthwise.launch_depthwise(packed, _image(35, 192, dtype), _image(-(-35 // stride), 192, dtype), function)


def _adaptive(dtype: torch.dtype) -> None:
    target = Destination(Slice(1, 0, 192), False)
    step = PoolStep("", "avg", Slice(0, 0, 192), target, (1, 1), (1, 1), (0, 0), (0, 0), adaptive=True)
    pool.launch_pool(step, _image(35, 192, dtype), _image(6, 192, dtype), None)


def _local_response(dtype: torch.dtype) -> None:
    piece = Slice(0, 0, 192)
    step = LocalResponseStep("", piece, Destination(piece, True), 5, 1e-4, 0.75, 1.0)
    local_response.launch_local_response(step, _image(35, 192, dtype), _image(35, 192, dtype))


def _pad(source: torch.Tensor, dtype: torch.dtype) -> None:
    vector = torch.empty(source.shape[3])
    pad.launch_pad(source, _image(source.shape[1] + 3, source.shape[3], dtype), (1, 2), 0.5, vector, vector, False)


def launches(dtype: torch.dtype) -> list[tuple[str, object, str, Callable[[], None]]]:
    """(label, module, kernel, launch)."""
    image, vector = _image(35, 192, dtype), torch.empty(192)
    return [
        ("pair of 7", pair, "pair_kernel", lambda: _pair((1, 7), dtype)),
        ("pair of 3", pair, "pair_kernel", lambda: _pair((3, 1), dtype)),
        ("max pool", pool, "pool_kernel", lambda: _pool("max", 35, 33, 3, dtype)),
        ("average pool", pool, "pool_kernel", lambda: _pool("avg", 35, 33, 3, dtype)),
        ("global average", pool, "mean_kernel", lambda: _pool("avg", 8, 1, 8, dtype)),
        ("pool and convolution", pool_conv, "pool_conv_kernel", lambda: _pool_conv(64, dtype)),
        ("pool and wide convolution", pool_conv, "pool_conv_kernel", lambda: _pool_conv(128, dtype)),
        (
            "convolution and pool",
            conv_pool,
            "conv_pool_kernel",
            lambda: _conv_pool(_packed(32, 64, (3, 3), dtype), 147, 147, dtype),
        ),
        (
            "first convolution and pool",
            conv_pool,
            "conv_pool_kernel",
            lambda: _conv_pool(_packed(3, 64, (7, 7), dtype, (2, 2)), 224, 112, dtype),
        ),
        (
            "pointwise",
            pointwise,
            "pointwise_kernel",
            lambda: pointwise.launch_pointwise(image, image, *relus(True), vector, vector, image),
        ),
        ("resize", resize, "resize_kernel", lambda: resize.launch_resize(image, _image(71, 192, dtype), False, True)),
        ("normalize", normalize, "normalize_kernel", lambda: normalize.launch_normalize(image, image, 1e-12, False)),
        ("convolution, four functions", conv, "conv_kernel", lambda: _conv(dtype)),
        ("convolutions, three functions", group, "group_kernel", lambda: _group(dtype)),
        ("depthwise", depthwise, "depthwise_kernel", lambda: _depthwise(dtype, RELU)),
        ("depthwise, a function", depthwise, "depthwise_kernel", lambda: _depthwise(dtype, FUNCTIONS[0], 2)),
        (
            "pointwise, slopes",
            pointwise,
            "pointwise_kernel",
            lambda: pointwise.launch_pointwise(image, image, FUNCTIONS[2], vector, vector, image),
        ),
        ("adaptive pool", pool, "pool_kernel", lambda: _adaptive(dtype)),
        ("softmax", softmax, "softmax_kernel", lambda: softmax.launch_softmax(image, image, False, False)),
        ("log softmax", softmax, "softmax_kernel", lambda: softmax.launch_softmax(image, image, True, False)),
        ("local response", local_response, "local_response_kernel", lambda: _local_response(dtype)),
        ("pad", pad, "pad_kernel", lambda: _pad(image, dtype)),
        ("pad of bytes", pad, "pad_kernel", lambda: _pad(torch.empty(8, 3, 35, 35).byte().permute(0, 2, 3, 1), dtype)),
        ("gate", gate, "gate_kernel", lambda: gate.launch_gate(image, _image(1, 192, dtype), image, True)),
        ("gate of a plane", gate, "gate_kernel", lambda: gate.launch_gate(image, _image(35, 1, dtype), image, True)),
    ]


def main() -> None:
    archs, dtypes = (argument.split(",") for argument in sys.argv[1:3])
    for dtype in (getattr(torch, name) for name in dtypes):
        for label, module, kernel, launch in launches(dtype):
            with recorded(module, kernel) as found:  # type: ignore[arg-type]
                launch()
            args, kwargs = found[0]
            for arch in archs:
                compiled = compile_launch(getattr(module, kernel), args, kwargs, int(arch))
                write(f"{label} {str(dtype).removeprefix('torch.')}", None, compiled)


if __name__ == "__main__":
    main()
