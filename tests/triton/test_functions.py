"""Functions in the kernels: over the range of float32 against float64, and exactly where they are exact."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from inception_fast.activation import Activation, activate
from inception_fast.plan.plan import Convolution, Destination, Slice
from inception_fast.tuning.problem import ConvConfig
from tests.backends.cases import FUNCTIONS
from tests.triton.exact import DEVICE, integers, poisoned, requires_triton, same_padding_taps

pytestmark = requires_triton

POWERS = [Activation("power", p) for p in (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, -1.0, -2.0, 1 / 3, -0.75)]
FINITE = torch.cat([torch.logspace(-6, 1.8, 90), torch.tensor([0.0, 0.25, 0.3, 1.0, 3.0])])


def _function(activation: Activation, slope: torch.Tensor | None = None):
    from inception_fast.triton_kernels.functions import Function

    slopes = {} if slope is None else {"s": slope.to(DEVICE)}
    return Function.of(Destination(Slice(0, 0, 1), False, activation), slopes)


def _applied(activation: Activation, x: torch.Tensor, slope: torch.Tensor | None = None) -> torch.Tensor:
    """By the pointwise kernel, to each number as a pixel of as many channels as there are slopes."""
    from inception_fast.triton_kernels.pointwise import launch_pointwise

    image = x.to(DEVICE).view(1, 1, -1, 1 if slope is None else len(slope))
    result = torch.full_like(image, 7.5)
    launch_pointwise(image, result, _function(activation, slope))
    return result.flatten().cpu()


@pytest.mark.parametrize("activation", [*FUNCTIONS, *POWERS], ids=lambda a: f"{a.function} {a.alpha:.3g}")
def test_values(activation: Activation) -> None:
    """Relative to the value itself; where 1 + erf or 1 + tanh loses digits, to the argument; of a power more for each
    binary digit of its size.
    """
    x = torch.cat([FINITE, -FINITE])
    truth, got = activate(x.double(), activation, {}), _applied(activation, x).double()
    assert torch.equal(got.isnan(), truth.isnan())
    whole = x.abs().double() if activation.function.startswith("gelu") else truth.abs()
    digits = truth.abs().clamp(1e-30, 1e30).log2().abs() / 16 if activation.function == "power" else 0.0
    close = (got - truth).abs() <= 2e-6 * (1.0 + digits) * whole.clamp_min(1e-30)
    assert (close | (got == truth) | truth.isnan()).all()


@pytest.mark.parametrize("activation", FUNCTIONS, ids=lambda a: a.function)
def test_nan_and_infinity(activation: Activation) -> None:
    x = torch.tensor([float("nan"), float("inf"), float("-inf"), 1e30, -1e30])
    truth, got = activate(x.double(), activation, {}).float(), _applied(activation, x)
    assert got[0].isnan() and torch.equal(got.isnan(), truth.isnan())
    torch.testing.assert_close(got, truth, rtol=1e-6, atol=0, equal_nan=True)


def test_slopes() -> None:
    slope, x = torch.tensor([0.25, -2.0, 0.0]), integers(14, 3, dtype=torch.float32)
    x[3, 1] = float("nan")
    got = _applied(Activation("prelu", slope="s"), x, slope).view(14, 3)
    torch.testing.assert_close(got, F.prelu(x, slope), rtol=0, atol=0, equal_nan=True)


def test_each_destination_of_a_convolution_has_its_own() -> None:
    """Behind bias and residual, in tiles that two destinations share."""
    from inception_fast.triton_kernels.conv import launch_conv, pack_conv
    from inception_fast.triton_kernels.functions import IDENTITY, RELU

    widths = (17, 5, 9, 12, 7)
    slope = integers(9, dtype=torch.float32)
    activations = (Activation("leaky_relu", 0.5), Activation("prelu", slope="s"), Activation("clamp", -2.0, 5.0))
    leaky, prelu, clamp = (_function(a, slope) for a in activations)
    weight, bias = integers(50, 13, 1, 3, dtype=torch.float32, high=1), integers(50, dtype=torch.float32)
    conv = Convolution("w", "b", 13, 50, same_padding_taps((1, 3)), (1, 1))
    packed = pack_conv(conv, {"w": weight.flatten(2).transpose(1, 2), "b": bias}, DEVICE)
    x, residual = integers(2, 5, 6, 13, dtype=torch.float32), integers(2, 5, 6, 50, dtype=torch.float32)
    sums = F.conv2d(x.double().permute(0, 3, 1, 2), weight.double(), bias.double(), padding=(0, 1))
    parts = (sums + residual.double().permute(0, 3, 1, 2)).split(widths, 1)
    truth = [
        activate(parts[0], activations[0], {}),
        parts[1].relu(),
        activate(parts[2], activations[1], {"s": slope.double()}),
        parts[3],
        activate(parts[4], activations[2], {}),
    ]
    targets = [poisoned((2, 5, 6, width), before=3, after=2, dtype=torch.float32) for width in widths]
    functions = [leaky, RELU, prelu, IDENTITY, clamp]
    views = [view for _, view in targets]
    launch_conv(packed, ConvConfig(64, 32, 32), x.to(DEVICE), views, functions, residual.to(DEVICE))
    for (whole, view), part in zip(targets, truth, strict=True):
        assert torch.equal(view.cpu().double(), part.permute(0, 2, 3, 1))
        assert whole[..., :3].isnan().all() and whole[..., 3 + view.shape[3] :].isnan().all()
