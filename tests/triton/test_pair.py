"""The pair kernel on small integers, against the two convolutions in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from inception_fast.plan.plan import Convolution
from tests.triton.exact import DEVICE, integers, poisoned, relus, requires_triton, same_padding_taps

pytestmark = requires_triton


def _half(c_in: int, c_out: int, kernel: tuple[int, int]):
    from inception_fast.triton_kernels.conv import pack_conv

    # Sparse weights keep the sums of two convolutions exact in every dtype.
    weight = integers(c_out, c_in, *kernel, dtype=torch.float32, high=1) * (torch.rand(c_out, c_in, *kernel) < 0.2)
    bias = integers(c_out, dtype=torch.float32)
    conv = Convolution("w", "b", c_in, c_out, same_padding_taps(kernel), (1, 1))
    return weight, bias, pack_conv(conv, {"w": weight.flatten(2).transpose(1, 2), "b": bias}, DEVICE)


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("kernel", [(1, 7), (7, 1), (3, 1), (1, 3)])
def test_exact(kernel: tuple[int, int], bands: int) -> None:
    from inception_fast.triton_kernels.pair import is_vertical, launch_pair

    w1, b1, first = _half(11, 13, kernel)
    w2, b2, second = _half(13, 22, kernel[::-1])
    assert is_vertical(first.conv, second.conv) == (kernel[0] == 1)
    x, residual = integers(2, 11, 7, 8, dtype=torch.float32), integers(2, 7, 8, 22, dtype=torch.float32)
    middle = F.conv2d(x.double(), w1.double(), b1.double(), padding=(kernel[0] // 2, kernel[1] // 2)).relu()
    truth = F.conv2d(middle, w2.double(), b2.double(), padding=(kernel[1] // 2, kernel[0] // 2))
    truth = truth.permute(0, 2, 3, 1) + residual.double()
    wholes = [poisoned((2, 7, 8, width), before=3, after=2, dtype=torch.float32) for width in (9, 13)]
    launch_pair(
        first,
        second,
        True,
        (7, 8),
        x.permute(0, 2, 3, 1).contiguous().to(DEVICE),
        [view for _, view in wholes],
        relus(True, False),
        residual.to(DEVICE),
        bands=bands,
    )
    assert torch.equal(wholes[0][1].cpu().double(), truth[..., :9].relu())
    assert torch.equal(wholes[1][1].cpu().double(), truth[..., 9:])
    for whole, view in wholes:
        assert whole[..., :3].isnan().all() and whole[..., 3 + view.shape[3] :].isnan().all()


def test_what_the_kernel_leaves_to_two_launches() -> None:
    from inception_fast.triton_kernels.pair import is_vertical

    def conv(kernel: tuple[int, int], stride: tuple[int, int] = (1, 1)) -> Convolution:
        return Convolution("w", None, 4, 4, same_padding_taps(kernel), stride)

    assert is_vertical(conv((1, 3)), conv((3, 3))) is None
    assert is_vertical(conv((1, 3), (1, 2)), conv((3, 1))) is None
    assert is_vertical(conv((1, 9)), conv((9, 1))) is None
    assert is_vertical(conv((1, 9)), conv((7, 1))) is True
