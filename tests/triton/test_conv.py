"""The convolution kernel on small integers, where every sum is exact and a wrong index cannot hide in a tolerance."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from inception_fast.plan.plan import Convolution
from inception_fast.tuning.problem import ConvConfig
from tests.triton.exact import DEVICE, integers, poisoned, poisoned_workspace, relus, requires_triton, same_padding_taps

pytestmark = requires_triton

CONFIG = ConvConfig(64, 32, 32)
"""Smaller than the problems, so that tiles, channels and steps have ragged ends."""

SHAPES = {
    "1x1": (67, 45, (1, 1), (7, 9), (1, 1)),
    "1x1, whole blocks": (64, 64, (1, 1), (8, 8), (1, 1)),
    "3x3": (21, 50, (3, 3), (9, 11), (1, 1)),
    "3x3, wide": (32, 33, (3, 3), (6, 7), (1, 1)),
    "3x3, stride 2": (12, 20, (3, 3), (11, 8), (2, 2)),
    "5x5, 48 channels": (48, 36, (5, 5), (5, 6), (1, 1)),
    "7x7, 3 channels": (3, 37, (7, 7), (13, 12), (2, 2)),
    "1x7": (20, 24, (1, 7), (5, 11), (1, 1)),
    "uneven stride": (8, 16, (3, 2), (9, 10), (3, 1)),
    "larger than the image": (9, 10, (3, 3), (1, 2), (1, 1)),
    "one channel": (1, 1, (3, 3), (5, 5), (1, 1)),
}


def _convolution(c_in: int, c_out: int, kernel: tuple[int, int], stride: tuple[int, int], dtype: torch.dtype):
    from inception_fast.triton_kernels.conv import pack_conv

    conv = Convolution("w", "b", c_in, c_out, same_padding_taps(kernel), stride)
    weight, bias = integers(c_out, c_in, *kernel, dtype=dtype, high=1), integers(c_out, dtype=torch.float32)
    constants = {"w": weight.flatten(2).transpose(1, 2), "b": bias}
    return pack_conv(conv, constants, DEVICE), weight, bias


def _truth(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, stride: tuple[int, int]) -> torch.Tensor:
    """Float64, NHWC."""
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    return F.conv2d(x.double(), weight.double(), bias.double(), stride, padding).permute(0, 2, 3, 1)


CONFIGS = {
    "64x32": CONFIG,
    "32x112": ConvConfig(32, 112, 64),
    "64x48, split": ConvConfig(64, 48, 16, splits=5),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("config", CONFIGS, ids=CONFIGS)
def test_exact(name: str, config: str) -> None:
    from inception_fast.triton_kernels.conv import launch_conv

    c_in, c_out, kernel, size, stride = SHAPES[name]
    packed, weight, bias = _convolution(c_in, c_out, kernel, stride, torch.float32)
    x = integers(2, c_in, *size, dtype=torch.float32)
    truth = _truth(x, weight, bias, stride)
    whole, view = poisoned(truth.shape, before=0, after=0, dtype=torch.float32)
    workspace = poisoned_workspace()
    launch_conv(packed, CONFIGS[config], x.to(DEVICE).permute(0, 2, 3, 1), [view], relus(False), workspace=workspace)
    assert torch.equal(whole.cpu().double(), truth)
    assert not workspace.counters.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
def test_rounds_once(dtype: torch.dtype) -> None:
    """The sum is exact in float32 and too long for the stored dtype."""
    from inception_fast.triton_kernels.conv import launch_conv

    packed, weight, bias = _convolution(96, 19, (3, 3), (1, 1), dtype)
    x = integers(1, 96, 6, 5, dtype=dtype, high=120)
    truth = _truth(x, weight, bias, (1, 1))
    _, view = poisoned(truth.shape, before=0, after=0, dtype=dtype)
    launch_conv(packed, CONFIG, x.to(DEVICE).permute(0, 2, 3, 1), [view], relus(False))
    assert (truth.to(dtype).double() != truth).any()
    assert torch.equal(view.cpu(), truth.float().to(dtype))


@pytest.mark.parametrize("offset", range(9))
def test_every_channel_offset(offset: int) -> None:
    """Source, destinations and residual are slices at that offset; what is beside them keeps its poison."""
    from inception_fast.triton_kernels.conv import launch_conv

    packed, weight, bias = _convolution(13, 43, (3, 3), (1, 1), torch.float32)
    wide = torch.full((2, 5, 6, offset + 13 + 2), float("nan"))
    wide[..., offset : offset + 13] = integers(2, 5, 6, 13, dtype=torch.float32)
    source = wide[..., offset : offset + 13]
    truth = _truth(source.permute(0, 3, 1, 2), weight, bias, (1, 1))
    residual = torch.full((2, 5, 6, offset + 43), float("nan"))
    residual[..., offset:] = integers(2, 5, 6, 43, dtype=torch.float32)
    truth = truth + residual[..., offset:].double()
    segments, wanted = (17, 5, 21), (True, False, True)
    targets = [poisoned((2, 5, 6, width), before=offset, after=3, dtype=torch.float32) for width in segments]
    views = [view for _, view in targets]
    source, residual = wide.to(DEVICE)[..., offset : offset + 13], residual.to(DEVICE)[..., offset:]
    config = replace(CONFIG, splits=3) if offset % 2 else CONFIG
    launch_conv(packed, config, source, views, relus(*wanted), residual, workspace=poisoned_workspace())
    for (whole, view), part, relu in zip(targets, truth.split(segments, 3), wanted, strict=True):
        assert torch.equal(view.cpu().double(), part.relu() if relu else part)
        assert whole[..., :offset].isnan().all() and whole[..., offset + view.shape[3] :].isnan().all()


def test_taps_that_are_no_grid() -> None:
    """The union of a 1x3 and a 3x1, from the table in device memory."""
    from inception_fast.triton_kernels.conv import launch_conv, pack_conv

    taps = ((-1, 0), (0, -1), (0, 0), (0, 1), (1, 0))
    conv = Convolution("w", None, 11, 21, taps, (1, 1))
    weight = integers(21, 5, 11, dtype=torch.float32)
    packed = pack_conv(conv, {"w": weight}, DEVICE)
    assert packed.grid is None
    window = torch.zeros(21, 11, 3, 3)
    for t, (dy, dx) in enumerate(taps):
        window[:, :, dy + 1, dx + 1] = weight[:, t]
    x = integers(2, 11, 6, 7, dtype=torch.float32)
    truth = _truth(x, window, torch.zeros(21), (1, 1))
    whole, view = poisoned(truth.shape, before=0, after=0, dtype=torch.float32)
    launch_conv(packed, CONFIG, x.to(DEVICE).permute(0, 2, 3, 1), [view], relus(False))
    assert torch.equal(whole.cpu().double(), truth)


def test_nan_stays_where_it_is_seen() -> None:
    from inception_fast.triton_kernels.conv import launch_conv

    packed, weight, bias = _convolution(20, 33, (3, 3), (1, 1), torch.float32)
    x = integers(2, 20, 9, 8, dtype=torch.float32)
    x[1, 7, 4, 5] = float("nan")
    truth = _truth(x, weight, bias, (1, 1)).relu()
    _, view = poisoned(truth.shape, before=0, after=0, dtype=torch.float32)
    view.zero_()
    launch_conv(packed, CONFIG, x.to(DEVICE).permute(0, 2, 3, 1), [view], relus(True))
    assert torch.equal(view.cpu().isnan(), truth.isnan())


def test_parts_are_added_in_the_order_of_k() -> None:
    """Whoever arrives last: the bits are those of the parts, each computed alone, added from the first to the last."""
    from inception_fast.triton_kernels.conv import launch_conv, pack_conv

    weight, x = torch.randn(37, 1, 112), torch.randn(1, 7, 9, 112)

    def product(channels: slice, config: ConvConfig) -> torch.Tensor:
        piece = x[..., channels].contiguous().to(DEVICE)
        conv = Convolution("w", None, piece.shape[3], 37, ((0, 0),), (1, 1))
        view = torch.full((1, 7, 9, 37), float("nan"), device=DEVICE)
        packed = pack_conv(conv, {"w": weight[..., channels].contiguous()}, DEVICE)
        launch_conv(packed, config, piece, [view], relus(False), workspace=poisoned_workspace())
        return view

    parts = [product(slice(k, k + 32), CONFIG) for k in range(0, 112, 32)]
    expected = parts[0] + parts[1] + parts[2] + parts[3]
    assert not torch.equal(parts[3] + parts[2] + parts[1] + parts[0], expected)
    # The interpreter's programs have one order; on a GPU any of them may be last.
    for _ in range(2 if DEVICE.type == "cpu" else 100):
        assert torch.equal(product(slice(None), replace(CONFIG, splits=4)), expected)
