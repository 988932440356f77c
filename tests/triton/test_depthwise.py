"""The depthwise kernel on small integers, where every sum is exact."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from inception_fast.plan.plan import DepthwiseStep, Destination, Slice
from tests.triton.exact import DEVICE, integers, poisoned, relus, requires_triton, same_padding_taps

pytestmark = requires_triton

SHAPES = {
    "3x3": (70, (3, 3), (7, 9), (1, 1)),
    "3x3, stride 2": (5, (3, 3), (8, 7), (2, 2)),
    "5x1, uneven stride": (33, (5, 1), (7, 5), (1, 3)),
    "1x1": (12, (1, 1), (3, 4), (1, 1)),
    "larger than the image": (9, (3, 7), (1, 2), (1, 1)),
}


@pytest.fixture(params=[False, True], ids=["one tile", "many tiles"])
def _tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter's tile has all pixels and channels; a GPU's has not."""
    if request.param:
        monkeypatch.setattr("inception_fast.triton_kernels.depthwise.tile_shape", lambda *_: (32, 32))


def _step(channels: int, taps: tuple[tuple[int, int], ...], stride: tuple[int, int], bias: bool) -> DepthwiseStep:
    piece = Slice(0, 0, channels)
    return DepthwiseStep("d", piece, Destination(piece, False), "w", "b" if bias else None, taps, stride)


@pytest.mark.usefixtures("_tiles")
@pytest.mark.parametrize("name", SHAPES)
def test_exact(name: str) -> None:
    from inception_fast.triton_kernels.depthwise import launch_depthwise, pack_depthwise

    channels, kernel, size, stride = SHAPES[name]
    x, weight = integers(2, channels, *size, dtype=torch.float32), integers(channels, 1, *kernel, dtype=torch.float32)
    bias = integers(channels, dtype=torch.float32)
    x[1, 2, 0, 1] = float("nan")
    padding = (kernel[0] // 2, kernel[1] // 2)
    truth = F.conv2d(x.double(), weight.double(), bias.double(), stride, padding, groups=channels).permute(0, 2, 3, 1)
    step = _step(channels, same_padding_taps(kernel), stride, bias=True)
    packed = pack_depthwise(step, weight.flatten(1).t().contiguous().to(DEVICE), bias.to(DEVICE))
    source = torch.full((2, *size, channels + 3), float("nan"))
    source[..., 2:-1] = x.permute(0, 2, 3, 1)
    whole, view = poisoned(truth.shape, before=1, after=2, dtype=torch.float32)
    view.zero_()
    launch_depthwise(packed, source.to(DEVICE)[..., 2:-1], view, *relus(True))
    assert torch.equal(view.cpu().isnan(), truth.isnan())
    assert torch.equal(view.cpu().double().nan_to_num(7.0), truth.relu().nan_to_num(7.0))
    assert whole[..., :1].isnan().all() and whole[..., -2:].isnan().all()


def test_taps_that_are_no_grid() -> None:
    from inception_fast.triton_kernels.depthwise import launch_depthwise, pack_depthwise

    taps = ((-1, 0), (0, -1), (0, 0), (0, 1), (1, 0))
    weight, x = integers(5, 11, dtype=torch.float32), integers(2, 11, 6, 7, dtype=torch.float32)
    packed = pack_depthwise(_step(11, taps, (1, 1), bias=False), weight.to(DEVICE), None)
    assert packed.grid is None
    window = torch.zeros(11, 1, 3, 3)
    for t, (dy, dx) in enumerate(taps):
        window[:, 0, dy + 1, dx + 1] = weight[t]
    truth = F.conv2d(x.double(), window.double(), padding=1, groups=11).permute(0, 2, 3, 1)
    whole, view = poisoned(truth.shape, before=0, after=0, dtype=torch.float32)
    launch_depthwise(packed, x.to(DEVICE).permute(0, 2, 3, 1).contiguous(), view, *relus(False))
    assert torch.equal(whole.cpu().double(), truth)
