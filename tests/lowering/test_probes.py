"""The images that a network is measured on are such as its own numbers tell of."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from inception_fast.activation import Activation
from inception_fast.graph import ir
from inception_fast.graph.capture import capture
from inception_fast.graph.interpreter import interpret
from inception_fast.lowering.probes import probes
from tests.graph.build import Build


class Scaled(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward((x - 127.5) / 30)


def graph_of(model: nn.Module) -> ir.Graph:
    return capture(model.eval(), torch.zeros(1, 3, 32, 28)).graph


@torch.no_grad()
def calibrated(model: nn.Module, mean: float, deviation: float) -> nn.Module:
    """With the statistics of images whose channels lie around ``mean``, once and twice it and zero."""
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    model.train()(deviation * torch.randn(8, 3, 32, 28) + mean * torch.tensor([1.0, 2.0, 0.0]).view(1, 3, 1, 1))
    return model.eval()


def test_probes_pass_the_input_normalisation() -> None:
    smooth, normal, uniform = probes(graph_of(Scaled(3, 4, 3)))
    assert 60 < smooth.mean() < 200 and 5 < smooth.std() < 60
    assert 120 < normal.mean() < 135 and 27 < normal.std() < 33
    assert uniform.min() >= 0 and uniform.max() <= 1


@pytest.mark.parametrize("mean, deviation", [(30.0, 1.0), (-200.0, 60.0), (0.0, 1e-3)])
@pytest.mark.parametrize("rectified", [False, True])
def test_images_that_normalisations_tell_of(mean: float, deviation: float, rectified: bool) -> None:
    torch.manual_seed(0)
    before = nn.Sequential(*([nn.Conv2d(3, 24, 3, padding=1, bias=False), nn.ReLU()] if rectified else []))
    before.append(nn.Conv2d(24 if rectified else 3, 16, 1, bias=False))
    norm, behind = nn.BatchNorm2d(16, eps=1e-8), [nn.ReLU(), nn.Conv2d(16, 8, 3), nn.BatchNorm2d(8)]
    smooth, _, _, told = probes(graph_of(calibrated(nn.Sequential(before, norm, *behind), mean, deviation)))

    def missed(x: torch.Tensor) -> float:
        """Root mean square of how far values lie from where the normalisation expects them, in its deviations."""
        return norm(before(x)).square().mean().sqrt().item()

    with torch.no_grad():
        assert not 0.4 < missed(smooth) < 2.5
        assert 0.3 < missed(told) < 2


@torch.no_grad()
def test_nothing_is_told_of_ordinary_images() -> None:
    torch.manual_seed(0)
    convs = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 3), nn.BatchNorm2d(8))
    assert len(list(probes(graph_of(calibrated(convs, 0.0, 1.0))))) == 3
    convs[1].running_mean.fill_(torch.nan)
    assert len(list(probes(graph_of(convs)))) == 3
    # Of what no image changes.
    convs[1].running_mean.fill_(50.0)
    convs[0].weight.zero_()
    assert len(list(probes(graph_of(convs)))) == 3


def read_by(build: Build, value: str) -> ir.Graph:
    """With a convolution that reads a value."""
    build.conv(value, 4, (3, 3))
    return build.graph()


def test_what_images_are_like() -> None:
    smooth, normal, uniform = probes(read_by(Build(3, 70, 50), "x"))
    for x in (smooth, normal, uniform):
        assert x.shape == (1, 3, 70, 50) and x.dtype == torch.float32
    assert 0.4 < smooth.std() < 1.6 and normal.std() == pytest.approx(1, rel=0.05) and abs(normal.mean()) < 0.05
    assert uniform.mean() == pytest.approx(0.5, rel=0.05) and uniform.std() == pytest.approx(12**-0.5, rel=0.05)
    for dim in (2, 3):
        # A quarter of normal noise, and of what lies under it a little.
        assert 0.34 < smooth.diff(dim=dim).std() < 0.4
        assert normal.diff(dim=dim).std() == pytest.approx(2**0.5, rel=0.05)
    # Pixels that are far apart have little in common; channels have none.
    assert smooth.mean((2, 3)).unique().numel() == 3
    again = probes(read_by(Build(3, 70, 50), "x"))
    assert all(torch.equal(a, b) for a, b in zip((smooth, normal, uniform), again, strict=True))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (17, 2)])
def test_images_of_any_size(size: tuple[int, int]) -> None:
    build = Build(2, *size)
    build.conv("x", 3)
    assert [x.shape for x in probes(build.graph())] == [(1, 2, *size)] * 3


def plain() -> torch.Tensor:
    """Normal noise behind which there is nothing."""
    _, normal, _ = probes(read_by(Build(3, 16, 16), "x"))
    return normal


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_every_step_of_the_input_normalisation_is_undone(steps: int) -> None:
    build, value = Build(3, 16, 16), "x"
    for _ in range(steps):
        value = build.affine(value)
    graph = read_by(build, value)
    _, normal, uniform = probes(graph)
    torch.testing.assert_close(interpret(graph, normal, values=[value])[0].float(), plain(), rtol=1e-4, atol=1e-4)
    assert uniform.min() >= 0 and uniform.max() <= 1


def test_what_is_no_normalisation_of_the_input_is_not_undone() -> None:
    clipped = Build(3, 16, 16)
    value = clipped.affine("x", relu=True)
    _, normal, _ = probes(read_by(clipped, value))
    assert torch.equal(normal, plain())
    branches = Build(3, 16, 16)
    scaled = branches.affine("x")
    branches.add(branches.conv("x", 3), branches.conv(scaled, 3))
    _, normal, _ = probes(branches.graph())
    assert torch.equal(normal, plain())
    # A part that scales its input and returns it.
    ended = Build(3, 16, 16)
    scaled = ended.affine("x")
    _, normal, _ = probes(ended.graph())
    torch.testing.assert_close(interpret(ended.graph(), normal)[0].float(), plain(), rtol=1e-4, atol=1e-4)


def test_a_channel_that_is_not_read_is_zero() -> None:
    """Nothing that it may hold is made of what it is scaled to."""
    build = Build(4, 16, 16)
    value = build.affine("x")
    for name in ("p0", "p1"):
        build.params[name].fill_(1.0)
    build.params["p0"][1:] = 0.0
    # Of a NaN, and of infinities of both signs.
    build.params["p1"][1:] = torch.tensor([math.nan, -1e30, 1e30])
    smooth, normal, _ = probes(read_by(build, value))
    for x in (smooth, normal):
        assert x[:, 0].any() and not x[:, 1:].any()


def normalised(build: Build, value: str, mean: list[float], variance: list[float], eps: float) -> ir.Graph:
    """With a normalisation of a value, and one behind it that tells of other images."""
    first = build.batchnorm(value, eps=eps)
    op = next(n.op for n in build.nodes if n.name == first)
    assert isinstance(op, ir.BatchNorm)
    build.params[op.mean], build.params[op.var] = torch.tensor(mean), torch.tensor(variance)
    second = build.batchnorm(build.relu(first))
    build.params[next(n.op for n in build.nodes if n.name == second).mean].fill_(1e6)  # type: ignore[attr-defined]
    return build.graph()


MEAN, VARIANCE = [30.0, -7.0, 100.0], [4.0, 9.0, 16.0]


@pytest.mark.parametrize(
    ("size", "eps"), [((32, 28), 1e-3), ((32, 28), 2.0), ((1, 2), 1e-3), ((2, 1), 1e-3), ((3, 1), 1e-3)]
)
def test_statistics_of_the_input_itself(size: tuple[int, int], eps: float) -> None:
    """They are met: means by channel, and of the deviations the median."""
    smooth, _, _, told = probes(normalised(Build(3, *size), "x", MEAN, VARIANCE, eps))
    assert told.shape == smooth.shape and told.dtype == torch.float32
    torch.testing.assert_close(told.mean((0, 2, 3)), torch.tensor(MEAN), rtol=1e-3, atol=1e-2)
    variances = told.double().var((0, 2, 3), correction=0) + eps
    ratios = (variances / (torch.tensor(VARIANCE).double() + eps)).sqrt()
    assert ratios.median().item() == pytest.approx(1.0, rel=0.05)
    # It is the smooth one.
    a, b = (x - x.mean((2, 3), keepdim=True) for x in (smooth, told))
    torch.testing.assert_close(a / a.norm(), b / b.norm(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_statistics_of_a_single_pixel(channels: int) -> None:
    """It has no deviation."""
    _, _, _, told = probes(normalised(Build(channels, 1, 1), "x", MEAN[:channels], VARIANCE[:channels], 1e-3))
    torch.testing.assert_close(told.flatten(), torch.tensor(MEAN[:channels]), rtol=1e-3, atol=1e-2)


def test_statistics_of_averages_over_the_image() -> None:
    """They tell of means alone."""
    build = Build(3, 20, 20)
    smooth, _, _, told = probes(normalised(build, build.flat("x"), MEAN, VARIANCE, 1e-3))
    means = torch.tensor(MEAN).view(1, 3, 1, 1)
    torch.testing.assert_close(told, smooth - smooth.mean((2, 3), keepdim=True) + means, rtol=1e-4, atol=1e-3)


def test_normalisations_side_by_side() -> None:
    """All of those that no other is in front of."""
    build = Build(2, 20, 20)
    for channel, mean in enumerate((40.0, -60.0)):
        norm = build.batchnorm(build.slice("x", channel, 1), name=f"norm{channel}")
        op = build.nodes[-1].op
        assert isinstance(op, ir.BatchNorm)
        build.params[op.mean].fill_(mean)
        build.params[op.var].fill_(1.0)
    build.concat("norm0", norm)
    _, _, _, told = probes(build.graph())
    torch.testing.assert_close(told.mean((0, 2, 3)), torch.tensor([40.0, -60.0]), rtol=1e-3, atol=1e-2)


def test_a_colour_that_is_hardly_seen_is_left_alone() -> None:
    """What it would have to be says more of rounding than of images."""
    build = Build(2, 20, 20)
    value = build.conv("x", 4)
    build.params["p0"] = torch.tensor([[1.0, 1.0], [1.0, 1.001], [1.0, 1.0], [1.001, 1.0]]).view(4, 2, 1, 1)
    _, _, _, told = probes(normalised(build, value, [50.0, 51.0, 50.0, 49.0], [1.0] * 4, 1e-3))
    torch.testing.assert_close(told.mean((0, 2, 3)), torch.tensor([25.0, 25.0]), rtol=0.1, atol=0.0)


def test_means_that_no_image_has() -> None:
    """The nearest are found, each as far as its deviation lets it be."""
    build = Build(1, 20, 20)
    value = build.conv("x", 2)
    build.params["p0"].fill_(1.0)
    _, _, _, told = probes(normalised(build, value, [10.0, 30.0], [1.0, 100.0], 1e-6))
    assert told.mean().item() == pytest.approx((10 / 1 + 30 / 100) / (1 / 1 + 1 / 100), rel=0.01)


def test_where_the_way_to_an_image_leaves_what_can_be_computed() -> None:
    """A root of something that is negative for images that are a little lighter."""
    smooth = next(probes(read_by(Build(1, 20, 20), "x")))
    build = Build(1, 20, 20)
    value = build.conv("x", 1, bias=True)
    build.params["p0"].fill_(-1.0)
    build.params["p1"] = (smooth.max() + 1e-3).view(1)
    value = build.node(ir.Activate(Activation("power", 0.5)), value)
    assert len(list(probes(normalised(build, value, [50.0], [1.0], 1e-3)))) == 3


@pytest.mark.parametrize(("mean", "told"), [(1.0, False), (4.0, True)])
def test_how_far_is_another_image(mean: float, told: bool) -> None:
    """In deviations, of which those of a network's own images are half a one."""
    build = Build(3, 32, 28)
    graph = normalised(build, "x", [mean, -mean, mean], [1.0] * 3, 1e-3)
    assert len(list(probes(graph))) == 3 + told
