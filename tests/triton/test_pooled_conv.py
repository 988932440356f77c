"""Convolution and max pool in one launch, either first, on small integers against both in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from inception_fast.plan.plan import Convolution, Destination, PoolStep, Slice
from inception_fast.tuning.problem import ConvConfig
from tests.triton.exact import DEVICE, integers, poisoned, relus, requires_triton, same_padding_taps

pytestmark = requires_triton

CONFIG = ConvConfig(16, 32, 32)

POOLS = {
    "3x3": ((3, 3), (1, 1), (1, 1), False),
    "3x3, stride 2": ((3, 3), (2, 2), (0, 0), False),
    "3x3, stride 2, ceil": ((3, 3), (2, 2), (0, 0), True),
    "3x3, stride 2, padded": ((3, 3), (2, 2), (1, 1), False),
    "2x2, stride 2": ((2, 2), (2, 2), (0, 0), False),
    "3x2, uneven": ((3, 2), (2, 3), (1, 0), True),
}


def _pool(name: str) -> PoolStep:
    kernel, stride, padding, _ = POOLS[name]
    return PoolStep("p", "max", Slice(0, 0, 1), Destination(Slice(1, 0, 1), False), kernel, stride, padding, padding)


def _pooled(x: torch.Tensor, name: str) -> torch.Tensor:
    kernel, stride, padding, ceil = POOLS[name]
    return F.max_pool2d(x, kernel, stride, padding, ceil_mode=ceil)


def _packed(c_in: int, c_out: int, kernel: tuple[int, int], stride: tuple[int, int], dtype: torch.dtype):
    from inception_fast.triton_kernels.conv import pack_conv

    weight, bias = integers(c_out, c_in, *kernel, dtype=dtype, high=1), integers(c_out, dtype=torch.float32)
    conv = Convolution("w", "b", c_in, c_out, same_padding_taps(kernel), stride)
    return pack_conv(conv, {"w": weight.flatten(2).transpose(1, 2), "b": bias}, DEVICE), weight.double(), bias.double()


def _nhwc(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1).contiguous()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("name", POOLS)
def test_pool_first(name: str, dtype: torch.dtype) -> None:
    from inception_fast.triton_kernels.pool_conv import launch_pool_conv

    packed, weight, bias = _packed(45, 37, (1, 1), (1, 1), dtype)
    x = integers(2, 45, 9, 11, dtype=dtype)
    truth = _nhwc(F.conv2d(_pooled(x.double(), name), weight, bias))
    wholes = [poisoned((*truth.shape[:3], width), before=3, after=2, dtype=dtype) for width in (9, 28)]
    views = [view for _, view in wholes]
    source = torch.full((2, 9, 11, 52), float("nan"), dtype=dtype)
    source[..., 5:50] = _nhwc(x)
    launch_pool_conv(_pool(name), packed, CONFIG, source.to(DEVICE)[..., 5:50], views, relus(True, False))
    assert torch.equal(views[0].cpu().double(), truth[..., :9].relu())
    assert torch.equal(views[1].cpu().double(), truth[..., 9:])
    for whole, view in wholes:
        assert whole[..., :3].isnan().all() and whole[..., 3 + view.shape[3] :].isnan().all()


CONVOLUTIONS = {
    "3x3": (13, 37, (3, 3), (1, 1)),
    "7x7, 3 channels": (3, 20, (7, 7), (2, 2)),
    "1x1, whole steps": (32, 33, (1, 1), (1, 1)),
}


@pytest.mark.parametrize(
    ("conv", "name", "band"),
    [
        ("3x3", "3x3, stride 2, padded", 1),
        ("3x3", "3x3, stride 2, ceil", 2),
        ("3x3", "3x2, uneven", 3),
        ("7x7, 3 channels", "3x3, stride 2, padded", 2),
        ("7x7, 3 channels", "3x3, stride 2, ceil", 16),
        ("1x1, whole steps", "2x2, stride 2", 2),
        ("1x1, whole steps", "3x3, stride 2", 16),
    ],
)
def test_convolution_first(conv: str, name: str, band: int) -> None:
    from inception_fast.triton_kernels.conv_pool import launch_conv_pool

    c_in, c_out, kernel, stride = CONVOLUTIONS[conv]
    packed, weight, bias = _packed(c_in, c_out, kernel, stride, torch.float32)
    x = integers(2, c_in, 9 * stride[0], 12 * stride[1], dtype=torch.float32)
    padding = (kernel[0] // 2, kernel[1] // 2)
    between = F.conv2d(x.double(), weight, bias, stride, padding).relu()
    truth = _nhwc(_pooled(between, name))
    whole, view = poisoned(truth.shape, before=3, after=2, dtype=torch.float32)
    # The caller's tensor as it is, channels first.
    source = x.to(DEVICE).permute(0, 2, 3, 1)
    launch_conv_pool(packed, _pool(name), CONFIG, band, tuple(between.shape[2:]), source, view, True)
    assert torch.equal(view.cpu().double(), truth)
    assert whole[..., :3].isnan().all() and whole[..., 3 + c_out :].isnan().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
def test_the_bits_of_two_launches(dtype: torch.dtype) -> None:
    """Rounding after the maximum is rounding before it; NaN and infinity included."""
    from inception_fast.triton_kernels.conv import launch_conv
    from inception_fast.triton_kernels.conv_pool import launch_conv_pool
    from inception_fast.triton_kernels.pool import launch_pool

    packed, *_ = _packed(21, 26, (3, 3), (1, 1), dtype)
    source = torch.randn(2, 9, 11, 21).to(dtype)
    source[0, 3, 4, 5], source[1, 6, 2, 0] = float("nan"), float("inf")
    source = source.to(DEVICE)
    name = "3x3, stride 2, padded"
    between, together = source.new_empty(2, 9, 11, 26), source.new_empty(2, 5, 6, 26)
    apart = torch.empty_like(together)
    launch_conv(packed, CONFIG, source, [between], relus(True))
    launch_pool(_pool(name), between, apart, None)
    launch_conv_pool(packed, _pool(name), CONFIG, 2, (9, 11), source, together, True)
    assert torch.equal(apart.isnan(), together.isnan()) and apart.isnan().any()
    assert torch.equal(apart.nan_to_num(), together.nan_to_num())
