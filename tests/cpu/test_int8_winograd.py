"""Quantised convolutions by Winograd's F(2, 3): kernels and reference against the definition, bit for bit."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from inception_fast.plan.check import MAX_QUANTIZED_BIAS, MAX_QUANTIZED_TERMS
from inception_fast.plan.plan import Axis, Convolution, ConvStep, Destination, Plan, Slice
from inception_fast.plan.winograd import AXES, winograd_taps
from inception_fast.quantization.winograd import transformed
from tests.cpu.quantized_step import (
    REACH,
    Constants,
    Net,
    check,
    conv_net,
    elements,
    expected_conv,
    reference,
    sums_by_pairs,
    weight_count,
)
from tests.cpu.single_step import convolve, window

pytestmark = pytest.mark.usefixtures("one_thread")
SHAPES, PARTS = 600, 3


def images(rng: random.Random, plan: Plan) -> torch.Tensor:
    """A little past the range on both sides, or nothing but its two ends."""
    b, batch = plan.buffers[0], rng.choice([1, 1, 2, 3])
    shape = batch, b.channels, b.height, b.width
    q = torch.randint(-10, 266, shape) if rng.random() < 0.7 else 255 * torch.randint(0, 2, shape)
    return (q - b.zero) * b.scale


@pytest.mark.parametrize("part", range(PARTS))
def test_any_shape(isa: str, part: int) -> None:
    rng = random.Random(part)
    torch.manual_seed(part)
    for _ in range(SHAPES // PARTS):
        plan, constants, step = conv_net(rng, winograd=True)
        x = images(rng, plan)
        check(plan, constants, x, isa, expected_conv(plan, constants, step, x), threads=rng.choice([1, 1, 2, 3]))


def test_reference() -> None:
    rng = random.Random(PARTS)
    torch.manual_seed(PARTS)
    for _ in range(SHAPES // PARTS):
        plan, constants, step = conv_net(rng, winograd=True)
        x = images(rng, plan)
        for got, want in zip(reference(plan, constants, x), expected_conv(plan, constants, step, x), strict=True):
            assert torch.equal(got, want)


def net_of(
    conv: Convolution, weight: torch.Tensor, size: tuple[int, int], zero: int, bias: int | None = None
) -> tuple[Plan, Constants]:
    """A Plan whose outputs are the sums themselves."""
    net = Net(random.Random(0), size, conv.in_channels)
    net.buffers[0] = replace(net.buffers[0], scale=1.0, zero=zero)
    y = net.add("y", size, conv.out_channels, "output")
    constants = {"w": weight.to(torch.int8), "s": torch.ones(conv.out_channels)}
    if bias is not None:
        constants["b"] = torch.full((conv.out_channels,), bias, dtype=torch.int32)
    step = ConvStep("conv", Slice(0, 0, conv.in_channels), conv, (Destination(Slice(y, 0, conv.out_channels), False),))
    return net.plan(step, constants), constants


def both(plan: Plan, constants: Constants, x: torch.Tensor, isa: str, want: torch.Tensor) -> None:
    check(plan, constants, x, isa, [want])
    assert torch.equal(reference(plan, constants, x)[0], want)


@pytest.mark.parametrize("axis", AXES)
def test_worked_by_hand(isa: str, axis: Axis) -> None:
    """Three outputs of four taps: odd numbers are halved both ways, and the second pair has no odd output."""
    taps = tuple((0, x) for x in range(4)) if axis == "horizontal" else tuple((y, 0) for y in range(4))
    conv = Convolution("w", "b", 1, 1, taps, (1, 1), "s", axis)
    size = (1, 3) if axis == "horizontal" else (3, 1)
    # Halves of the first pair, d = (4, -7, 90): (4 - 90) / 2, (-7 + 90) / 2 up, (90 + 7) / 2 down, (0 + 7) / 2 down;
    # of the second, d = (90, 0, 0): 45, 0, 0.
    even = 1000 + -43 * 1 + 42 * 10 + 48 * 100 + 0 * 5
    odd = 1000 + 3 * -120 + 42 * 10 - 48 * 100 + 0 * 5
    last = 1000 + 45 * 1
    weight = torch.tensor([1, 10, 100, -120, 5]).view(1, 5, 1)
    plan, constants = net_of(conv, weight, size, zero=100, bias=1000)
    x = torch.tensor([4.0, -7.0, 90.0]).view(1, 1, *size)
    both(plan, constants, x, isa, torch.tensor([even, odd, last]).float().view(1, 1, *size))


def test_exact_where_halves_are(isa: str) -> None:
    """Of numbers an even distance apart F(2, 3) makes the convolution itself, of taps half as large as the weights'."""
    rng = random.Random(7)
    torch.manual_seed(7)
    for _ in range(60):
        plan, _, step = conv_net(rng, winograd=True)
        size, conv = (plan.buffers[0].height, plan.buffers[0].width), replace(step.conv, bias=None)
        axis = conv.winograd
        assert axis is not None
        lines = winograd_taps(conv, axis)
        assert lines is not None
        taps = torch.randint(-42, 43, (conv.out_channels, len(conv.taps), conv.in_channels)).double()
        weight = transformed(taps, lines)
        assert weight.shape[1] == weight_count(conv) and weight.abs().max() <= 127
        zero = rng.choice([0, 127, 128, 255])
        plan, constants = net_of(conv, weight, size, zero)
        low = -(zero // 2)
        x = 2.0 * torch.randint(low, (255 - zero) // 2 + 1, (2, conv.in_channels, *size))
        assert torch.equal(elements(x, plan.buffers[0]), x.double())
        # A single tap's weight is whole where a triple's counts half.
        both(plan, constants, x, isa, convolve(x.double(), taps, conv.taps, (1, 1), size, REACH).float())


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(("weight", "zero", "bias"), [(-128, 0, -MAX_QUANTIZED_BIAS), (127, 255, MAX_QUANTIZED_BIAS)])
def test_the_largest_sums(isa: str, axis: Axis, weight: int, zero: int, bias: int) -> None:
    """Pixels of 0 and of 255, and weights at the end of their range that push each sum the same way."""
    channels = MAX_QUANTIZED_TERMS // 4
    taps = window(1, 4) if axis == "horizontal" else window(4, 1)
    conv = Convolution("w", "b", channels, 1, taps, (1, 1), "s", axis)
    size = (1, 6) if axis == "horizontal" else (6, 1)
    plan, constants = net_of(conv, torch.full((1, 5, channels), weight), size, zero, bias)
    for q in (torch.tensor([255, 255, 0, 0, 255, 255]), torch.tensor([0, 255, 255, 0, 255, 0])):
        x = (q - zero).view(1, 1, *size).float()
        # All channels are alike.
        sums = sums_by_pairs(x.double(), torch.full((1, 5, 1), weight * channels).double(), conv, size) + bias
        both(plan, constants, x.expand(1, channels, *size), isa, sums.float())
