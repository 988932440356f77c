"""Prints what every kernel but the convolution compiles to; see :mod:`tests.triton.compiling`.

Argument: architectures, comma-separated.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch

from inception_fast.plan.plan import Convolution, Destination, PoolStep, Slice
from inception_fast.triton_kernels import conv, normalize, pair, pointwise, pool, resize
from tests.triton.compiling import compile_launch, recorded, write
from tests.triton.exact import same_padding_taps

DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def _image(side: int, channels: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(8, side, side, channels, dtype=dtype)


def _half(c_in: int, c_out: int, kernel: tuple[int, int], dtype: torch.dtype) -> conv.PackedConv:
    taps = same_padding_taps(kernel)
    constants = {"w": torch.empty(c_out, len(taps), c_in, dtype=dtype), "b": torch.empty(c_out)}
    return conv.pack_conv(Convolution("w", "b", c_in, c_out, taps, (1, 1)), constants, torch.device("cpu"))


def _pair(kernel: tuple[int, int], dtype: torch.dtype) -> None:
    first, second = _half(160, 160, kernel, dtype), _half(160, 192, kernel[::-1], dtype)
    tf32 = dtype == torch.float32
    pair.launch_pair(
        first, second, True, (17, 17), _image(17, 160, dtype), [_image(17, 192, dtype)], [True], None, tf32
    )


def _pool(mode: str, side: int, out: int, kernel: int, dtype: torch.dtype) -> None:
    place = Destination(Slice(1, 0, 192), True)
    step = PoolStep("p", mode, Slice(0, 0, 192), place, (kernel, kernel), (1, 1), (0, 0), (0, 0))  # type: ignore[arg-type]
    bias = None if mode == "max" else torch.empty(192)
    pool.launch_pool(step, _image(side, 192, dtype), _image(out, 192, dtype), bias)


def launches(dtype: torch.dtype) -> list[tuple[str, object, str, Callable[[], None]]]:
    """(label, module, kernel, launch)."""
    image, vector = _image(35, 192, dtype), torch.empty(192)
    return [
        ("pair of 7", pair, "pair_kernel", lambda: _pair((1, 7), dtype)),
        ("pair of 3", pair, "pair_kernel", lambda: _pair((3, 1), dtype)),
        ("max pool", pool, "pool_kernel", lambda: _pool("max", 35, 33, 3, dtype)),
        ("average pool", pool, "pool_kernel", lambda: _pool("avg", 35, 33, 3, dtype)),
        ("global average", pool, "mean_kernel", lambda: _pool("avg", 8, 1, 8, dtype)),
        (
            "pointwise",
            pointwise,
            "pointwise_kernel",
            lambda: pointwise.launch_pointwise(image, image, True, vector, vector, image),
        ),
        ("resize", resize, "resize_kernel", lambda: resize.launch_resize(image, _image(71, 192, dtype), False, True)),
        ("normalize", normalize, "normalize_kernel", lambda: normalize.launch_normalize(image, image, 1e-12, False)),
    ]


def main() -> None:
    for dtype in DTYPES:
        for label, module, kernel, launch in launches(dtype):
            with recorded(module, kernel) as found:  # type: ignore[arg-type]
                launch()
            args, kwargs = found[0]
            for arch in sys.argv[1].split(","):
                compiled = compile_launch(getattr(module, kernel), args, kwargs, int(arch))
                write(f"{label} {str(dtype).removeprefix('torch.')}", None, compiled)


if __name__ == "__main__":
    main()
