"""The benchmark of further image sizes runs, and its counts are those of engines that share their weights."""

from __future__ import annotations

from torch import nn

from benchmarks.image_sizes import costs


def test_counts() -> None:
    network = nn.Sequential(nn.Conv2d(3, 1024, 3), nn.ReLU(), nn.Conv2d(1024, 1024, 1), nn.ReLU()).eval()
    first, second, again = costs(network, [20, 23, 20])
    weights = 4 * (1024 * 3 * 9 + 1024 * 1024)
    assert [first.size, second.size, again.size] == [20, 23, 20]
    assert first.counted > weights > second.counted > 0 == again.counted
    assert min(first.seconds, second.seconds) > 0
