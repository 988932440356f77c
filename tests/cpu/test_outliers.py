"""Numbers far beyond their neighbours: an output depends on its own window, however its tile is computed.

An output that does not see the outlier is held to float64 of the image without it, one that does to float64 with it,
each by the size of its own pixel.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

import inception_fast
from inception_fast.models.inception_v3 import InceptionV3
from tests.cpu.single_step import (
    Pair,
    Problem,
    Target,
    convolve,
    expected,
    make_native,
    plan_of,
    run_guarded,
    values_of,
    window,
)
from tests.cpu.test_winograd import BFLOAT16_TILES, TILES

SIZE = 13, 17
OUTLIERS = (25.0, 1e3, -1e4, 1e6, 3e38, float("inf"), -float("inf"), float("nan"))
PLACES = ((0, 0), (12, 16), (6, 8), (5, 12), (11, 3))
"""Corners, the centre, and rows and columns where tiles of every size end."""


def layer(kernel: Pair, bias: bool = True, residual: bool = True) -> Problem:
    return Problem(
        taps=window(*kernel),
        stride=(1, 1),
        in_channels=18,
        source_size=SIZE,
        source_start=3,
        source_channels=22,
        inner=True,
        size=SIZE,
        targets=(Target(0, 0, 17, True), Target(1, 2, 20, False)),
        widths=(18, 24),
        bias=bias,
        residual_start=1 if residual else None,
        batch=len(PLACES),
    )


def written(problem: Problem, outputs: list[torch.Tensor]) -> torch.Tensor:
    """The channels of the targets, float64."""
    return torch.cat([outputs[t.buffer][:, t.start : t.start + t.channels] for t in problem.targets], dim=1).double()


def sees(problem: Problem, touched: torch.Tensor) -> torch.Tensor:
    """Which outputs have a touched source pixel ``[N, H, W]`` under their window."""
    ones = torch.ones(1, len(problem.taps), 1, dtype=torch.float64)
    return convolve(touched[:, None].double(), ones, problem.taps, (1, 1), problem.size)[:, 0] > 0


def operands(problem: Problem, dtype: torch.dtype) -> tuple:
    """Plan, input and constants of normal numbers as ``dtype`` stores them, some of the weights zero."""
    torch.manual_seed(0)
    plan = plan_of(problem, str(dtype).removeprefix("torch."))
    x, constants = values_of(problem, plan, integers=False)
    constants["tested.w"][::5, 0] = 0.0
    typed = {k: v.to(getattr(torch, plan.constants[k].dtype)).double() for k, v in constants.items()}
    return plan, x.to(dtype), typed


def check(
    problem: Problem,
    hurt: torch.Tensor,
    got: torch.Tensor,
    clean: torch.Tensor,
    truth: torch.Tensor,
    touched: torch.Tensor,
    bound: float,
) -> None:
    """``got`` and ``truth`` are of ``hurt``, ``clean`` of the images without the outliers; all ``[N, C, H, W]``."""
    seen = sees(problem, touched)

    def far(want: torch.Tensor) -> torch.Tensor:
        return (got - want).norm(dim=1) > bound * want.norm(dim=1)

    assert not seen.all()
    assert got.movedim(1, -1)[~seen].isfinite().all()
    assert not (far(clean) & ~seen).any()
    # Near the largest number sums may or may not overflow on the way.
    plain = (truth.abs() < torch.finfo(hurt.dtype).max / 64).all(dim=1)
    assert not (far(truth) & seen & plain).any()
    if hurt.isfinite().all():
        return
    endless = ~truth.isfinite()
    assert torch.equal(got[endless].isnan(), truth[endless].isnan())
    assert torch.equal(got[endless].nan_to_num(0), truth[endless].nan_to_num(0))


def check_tile(isa: str, algorithm: str, kernel: Pair, dtype: torch.dtype, bound: float) -> None:
    problem = layer(kernel)
    plan, x, constants = operands(problem, dtype)
    executor = make_native(plan, constants, isa, algorithm=algorithm)
    assert executor.report()[-1].algorithm == algorithm
    clean = written(problem, expected(problem, x.double(), constants, dtype))
    touched = torch.zeros(len(PLACES), *SIZE, dtype=torch.bool)
    for i, (row, column) in enumerate(PLACES):
        touched[i, row, column] = True
    for value in OUTLIERS:
        hurt = x.clone()
        for i, (row, column) in enumerate(PLACES):
            hurt[i, problem.source_start + 2 * i : problem.source_start + 2 * i + 3, row, column] = value
        truth = written(problem, expected(problem, hurt.double(), constants, dtype))
        check(problem, hurt, written(problem, run_guarded(executor, plan, hurt)), clean, truth, touched, bound)


@pytest.mark.parametrize(
    "algorithm, kernel", [t[:2] for t in TILES], ids=[f"{a} for {k[0]}x{k[1]}" for a, k, _ in TILES]
)
def test_one_pixel(isa: str, algorithm: str, kernel: Pair) -> None:
    check_tile(isa, algorithm, kernel, torch.float32, 3e-5)


@pytest.mark.parametrize("dtype, bound", [(torch.bfloat16, 8e-3), (torch.float16, 1e-3)], ids=str)
def test_one_pixel_in_sixteen_bits(isa: str, dtype: torch.dtype, bound: float) -> None:
    check_tile(isa, "F(4x4, 3x3)", (3, 3), dtype, bound)


@pytest.mark.usefixtures("_needs_dot")
@pytest.mark.parametrize("algorithm, kernel", [t[:2] for t in BFLOAT16_TILES], ids=[a for a, _, _ in BFLOAT16_TILES])
def test_one_pixel_in_bfloat16_products(isa: str, algorithm: str, kernel: Pair) -> None:
    check_tile(isa, f"{algorithm}, bfloat16 dot products", kernel, torch.bfloat16, 4e-2)


@pytest.mark.parametrize("algorithm, kernel", [("F(6x6, 3x3)", (3, 3)), ("F(3, 7) horizontal", (1, 7))])
@pytest.mark.parametrize("area", ["left half", "square"])
def test_areas(isa: str, algorithm: str, kernel: Pair, area: str) -> None:
    """Most of a tile, in all channels, may be the outlier."""
    problem = layer(kernel)
    plan, x, constants = operands(problem, torch.float32)
    touched = torch.zeros(len(PLACES), *SIZE, dtype=torch.bool)
    if area == "left half":
        touched[:, :, :8] = True
    else:
        touched[:, 3:12, 5:14] = True
    hurt = torch.where(touched[:, None], x * 1e4, x)
    clean, truth = (written(problem, expected(problem, image.double(), constants)) for image in (x, hurt))
    executor = make_native(plan, constants, isa, algorithm=algorithm)
    check(problem, hurt, written(problem, run_guarded(executor, plan, hurt)), clean, truth, touched, 3e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_in_a_black_image(isa: str, bias: bool) -> None:
    """Windows of zeros give the bias, or exact zeros."""
    problem = layer((3, 3), bias, residual=False)
    plan, x, constants = operands(problem, torch.float32)
    x.zero_()
    clean = written(problem, expected(problem, x.double(), constants))
    touched = torch.zeros(len(PLACES), *SIZE, dtype=torch.bool)
    touched[:, 6, 8] = True
    x[:, :, 6, 8] = 1e4
    truth = written(problem, expected(problem, x.double(), constants))
    executor = make_native(plan, constants, isa, algorithm="F(4x4, 3x3)")
    check(problem, x, written(problem, run_guarded(executor, plan, x)), clean, truth, touched, 3e-5)


def test_bits_of_threads_and_batches(isa: str) -> None:
    """Tiles that take the direct kernel are the same in every cut of the work."""
    problem = layer((3, 3))
    plan, x, constants = operands(problem, torch.float32)
    for i, (row, column) in enumerate(PLACES):
        x[i, 5:9, row, column] = 10.0 ** (i + 1)
    want = run_guarded(make_native(plan, constants, isa, algorithm="F(4x4, 3x3)"), plan, x)
    for threads in (2, 3):
        executor = make_native(plan, constants, isa, threads, algorithm="F(4x4, 3x3)")
        alone = [run_guarded(executor, plan, image) for image in x.split(1)]
        for i, whole in enumerate(run_guarded(executor, plan, x)):
            assert torch.equal(whole, want[i])
            assert torch.equal(torch.cat([outputs[i] for outputs in alone]), want[i])


def test_their_weights_are_counted(isa: str) -> None:
    """Packed when the first extreme tile needs them, once."""
    problem = layer((3, 3))
    plan, x, constants = operands(problem, torch.float32)
    executor = make_native(plan, constants, isa, algorithm="F(4x4, 3x3)")
    before = dict(executor.packed_weights)
    run_guarded(executor, plan, x.clamp(-1, 1))
    assert dict(executor.packed_weights) == before
    x[0, 5, 6, 8] = 1e4
    run_guarded(executor, plan, x)
    counted = dict(executor.packed_weights)
    (late,) = counted.keys() - before.keys()
    # Columns of zeros fill vectors up.
    assert constants["tested.w"].numel() * 4 <= counted[late] < constants["tested.w"].numel() * 16
    run_guarded(executor, plan, x)
    assert dict(executor.packed_weights) == counted


class Features(nn.Module):
    """What each of some layers gives."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = []
        for layer in self.layers:
            x = layer(x)
            found.append(x)
        return tuple(found)


def small_network() -> nn.Module:
    def conv(inputs: int, outputs: int, kernel: Pair) -> nn.Module:
        padding = kernel[0] // 2, kernel[1] // 2
        return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, padding=padding), nn.ReLU())

    return Features(conv(3, 24, (3, 3)), conv(24, 32, (3, 3)), conv(32, 32, (1, 7)), conv(32, 48, (5, 5)))


def stem() -> nn.Module:
    """Of Inception-v3, without biases, so that nothing but the activations say what is large."""
    network = InceptionV3()
    layers = [m for m in network.children() if not isinstance(m, nn.Dropout)][:7]
    return Features(*layers)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("value", [1e4, 1e6, float("nan")])
@pytest.mark.parametrize("network, size", [(small_network, 40), (stem, 107)], ids=["small", "inception_v3"])
def test_through_a_network(network, size: int, value: float) -> None:
    torch.manual_seed(0)
    model, x = network().eval(), torch.rand(1, 3, size, size)
    hurt = x.clone()
    hurt[0, 1, size // 3, size // 2] = value
    fast = inception_fast.optimize(model, x, backend="cpu")
    with torch.no_grad():
        clean, truth = model.double()(x.double()), model(hurt.double())
    for got, without, want in zip(fast(hurt), clean, truth, strict=True):
        unseen = (without == want).all(dim=1)
        assert unseen.any()
        error = (got.double() - without).norm(dim=1)[unseen]
        assert (error <= 1e-4 * without.norm(dim=1)[unseen]).all()
        finite = want.isfinite().all(dim=1)
        assert got.movedim(1, -1)[finite].isfinite().all()
        assert ((got.double() - want).norm(dim=1) <= 1e-4 * want.norm(dim=1))[finite].all()
