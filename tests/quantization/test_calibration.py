"""Calibration in memory that does not grow with the number of images, with scales as if it did."""

from __future__ import annotations

import pytest
import torch

from inception_fast.backends.cpu import CpuBackend
from inception_fast.graph.capture import capture
from inception_fast.graph.passes import optimize_graph
from inception_fast.lowering.lower import lower
from inception_fast.quantization import calibration
from inception_fast.quantization.calibration import OUTERMOST, Samples, calibrate
from tests.integrations.networks import network, photos

STEP = 1.05
"""Between two shares of a range that are neighbours, near the whole."""


def long_tailed(count: int, seed: int) -> torch.Tensor:
    """``[count, 6, 5, 7]`` of which one channel is wider than the others, as activations are."""
    values = torch.randn(count, 6, 5, 7, generator=torch.Generator().manual_seed(seed)).relu() ** 2
    values[:, 4] *= 3
    return values


def test_memory_is_bounded_and_the_extremes_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "SAMPLES", 1000)
    samples, parts = Samples(), [long_tailed(4, seed) - 0.5 for seed in range(300)]
    for part in parts:
        samples.add(part)
        assert len(samples.kept) <= 1000 and len(samples.extremes) <= 2 * OUTERMOST
        assert samples.kept.untyped_storage().nbytes() <= 4 * 1000
    assert len(samples.kept) > 1000 // 3
    ends = torch.stack([torch.stack(part.aminmax()) for part in parts])
    assert torch.equal(samples.extremes[:OUTERMOST], ends[:, 0].sort().values[:OUTERMOST])
    assert torch.equal(samples.extremes[-OUTERMOST:], ends[:, 1].sort().values[-OUTERMOST:])


def test_values_are_kept_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the lengths of what is added, one in so many of the whole."""
    monkeypatch.setattr(calibration, "SAMPLES", 100)
    samples, at = Samples(), 0
    for length in (5, 1, 70, 400, 3, 1000, 777, 2, 50):
        samples.add(torch.arange(at, at + length, dtype=torch.float32))
        at += length
    (distance,) = samples.kept.diff().unique().tolist()
    assert samples.kept[0] == 0 and distance % 2 == 1
    assert at - samples.kept[-1] <= distance


@pytest.mark.parametrize("seed", range(5))
def test_the_range_of_a_share_is_near_that_of_all(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    ranges = []
    for limit in (20_000, 1 << 30):
        monkeypatch.setattr(calibration, "SAMPLES", limit)
        samples = Samples()
        for part in range(100):
            samples.add(long_tailed(10, 1000 * seed + part))
        ranges.append(samples.best_range())
    (scale, zero), (wanted, wanted_zero) = ranges
    assert zero == wanted_zero == 0 and wanted / STEP <= scale <= wanted * STEP


def test_many_images_make_the_scales_that_all_values_would(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = network(), photos(40)
    graph, _ = optimize_graph(capture(model, images[:1]).graph, CpuBackend.lowering)
    plan, constants = lower(graph, "float32")
    monkeypatch.setattr(calibration, "SAMPLES", 1 << 30)
    whole = calibrate(plan, constants, images)
    monkeypatch.setattr(calibration, "SAMPLES", 1 << 12)
    share = calibrate(plan, constants, images)
    assert share.images == whole.images == 40 and share.ranges.keys() == whole.ranges.keys()
    for buffer, (scale, _) in share.ranges.items():
        assert scale == pytest.approx(whole.ranges[buffer][0], rel=0.15)
