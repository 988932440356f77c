"""Which convolutions are quantised for Winograd's F(2, 3), with which weights, and at what cost."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import inception_fast as ifast
from inception_fast.bench.accuracy import compare, flatten
from inception_fast.plan.plan import Axis, Convolution, ConvStep, Pair
from inception_fast.plan.winograd import AXES, winograd_taps
from inception_fast.quantization import winograd
from inception_fast.quantization.winograd import FEWEST_CHANNELS, best_winograd_taps, mean_points, transformed

COST = 2.5
"""Times the error of direct sums; it is 1.7 to 2.1 over the layers here and their seeds."""


def window(height: int, width: int) -> tuple[Pair, ...]:
    return tuple((y - height // 2, x - width // 2) for y in range(height) for x in range(width))


def convolution(extent: Pair, channels: int = 64, stride: Pair = (1, 1)) -> Convolution:
    return Convolution("w", None, channels, 8, window(*extent), stride)


@pytest.mark.parametrize(
    ("extent", "size", "axis"),
    [
        # Of a square of taps the axis whose extent is even; of two alike the rows, which are read in one go.
        ((3, 3), (8, 8), "horizontal"),
        ((3, 3), (7, 7), "horizontal"),
        ((3, 3), (8, 7), "vertical"),
        ((3, 3), (7, 8), "horizontal"),
        ((1, 7), (17, 17), "horizontal"),
        ((7, 1), (17, 17), "vertical"),
        ((5, 5), (7, 12), "horizontal"),
        # Lines of three leave no single taps.
        ((4, 3), (8, 8), "horizontal"),
        ((3, 4), (8, 8), "vertical"),
        # Where an axis has one output, pairs along the other are all there is.
        ((3, 3), (1, 8), "horizontal"),
        ((3, 3), (8, 1), "vertical"),
        # Pairs of a single output: four products in place of three.
        ((3, 3), (1, 1), None),
        ((1, 3), (8, 1), None),
        # Two pairs for three outputs: eight products in place of nine.
        ((1, 3), (8, 3), "horizontal"),
        ((1, 1), (8, 8), None),
        ((2, 2), (8, 8), None),
    ],
)
def test_choice(extent: Pair, size: Pair, axis: Axis | None) -> None:
    taps = best_winograd_taps(convolution(extent), size)
    assert (None if taps is None else AXES[taps.axis]) == axis
    assert taps is None or taps.extent == extent


def test_few_channels_and_strides_are_direct() -> None:
    assert best_winograd_taps(convolution((3, 3), FEWEST_CHANNELS), (8, 8)) is not None
    assert best_winograd_taps(convolution((3, 3), FEWEST_CHANNELS - 1), (8, 8)) is None
    assert best_winograd_taps(convolution((3, 3), stride=(1, 2)), (8, 8)) is None


def test_weights_of_a_line() -> None:
    """Seven taps: two threes, then one as it is."""
    taps = winograd_taps(convolution((1, 7), 1), "horizontal")
    assert taps is not None
    weight = torch.tensor([1.0, 2, 3, 10, 20, 40, 7]).view(1, 7, 1)
    assert transformed(weight, taps).flatten().tolist() == [2, 6, 2, 6, 20, 70, 30, 80, 7]
    means = torch.tensor([3.0, 6, 9, 10, 10, 40, 5]).view(7, 1)
    assert mean_points(means, taps).flatten().tolist() == [0, 6, 0, 0, 0, 20, 0, 0, 5]


@pytest.mark.parametrize("axis", AXES)
def test_weights_are_in_the_order_of_lines(axis: Axis) -> None:
    """Each line of a rectangle of two by four, or four by two, has the weights that it has alone."""
    extent: Pair = (2, 4) if axis == "horizontal" else (4, 2)
    whole = winograd_taps(convolution(extent, 5), axis)
    line = winograd_taps(convolution((1, 4) if axis == "horizontal" else (4, 1), 5), axis)
    assert whole is not None and line is not None
    weight, means = torch.randn(6, 8, 5), torch.randn(8, 5)
    ordered, averages = weight.view(6, *extent, 5), means.view(*extent, 5)
    if axis == "vertical":
        ordered, averages = ordered.transpose(1, 2), averages.transpose(0, 1)
    lines = [transformed(ordered[:, i], line) for i in range(2)]
    assert torch.equal(transformed(weight, whole), torch.cat(lines, dim=1))
    points = [mean_points(averages[i], line) for i in range(2)]
    assert torch.equal(mean_points(means, whole), torch.cat(points))


def test_mean_points_are_the_means_of_what_is_multiplied() -> None:
    """Of a constant image: halves of its sums are itself, of its differences nothing."""
    taps = winograd_taps(convolution((3, 5), 4), "horizontal")
    assert taps is not None
    values = torch.rand(4)
    points = mean_points(values.expand(15, 4), taps)
    d0, d1, d2, d3 = (values for _ in range(4))
    line = torch.stack([(d0 - d2) / 2, (d1 + d2) / 2, (d2 - d1) / 2, (d3 - d1) / 2, values, values])
    assert torch.allclose(points, line.repeat(3, 1))


def layer_and_images(extent: Pair, relu: bool, seed: int) -> tuple[nn.Module, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Conv2d(64, 16, extent, padding=(extent[0] // 2, extent[1] // 2)).eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 20)
    # Neighbours are alike, as in an image.
    x = nn.functional.avg_pool2d(torch.randn(8, 64, 14, 14, generator=generator), 3, 1)
    return layer, x.relu() if relu else x


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("extent", [(3, 3), (1, 7), (7, 1), (5, 5)])
def test_cost_in_accuracy(extent: Pair, relu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = layer_and_images(extent, relu, seed=extent[0])
    errors, axes = [], []
    for fewest in (FEWEST_CHANNELS, 1 << 20):
        monkeypatch.setattr(winograd, "FEWEST_CHANNELS", fewest)
        fast = ifast.optimize(model, images[:6], precision="int8", backend="reference")
        (conv,) = (step.conv for step in fast.plan.steps if isinstance(step, ConvStep))
        with torch.no_grad():
            truth = [model.double()(images[6:].double())]
        model.float()
        errors.append(compare(flatten(fast(images[6:])), truth).relative_l2)
        axes.append(conv.winograd)
    assert axes == ["vertical" if extent == (7, 1) else "horizontal", None]
    assert errors[1] < errors[0] < COST * errors[1] < 0.05
