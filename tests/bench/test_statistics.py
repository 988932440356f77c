"""Percentiles against NumPy's, and ratios that are taken within a round."""

from __future__ import annotations

import numpy as np
import pytest

from inception_fast.bench.statistics import Summary, paired_ratio, percentile


@pytest.mark.parametrize("count", [1, 2, 3, 10, 101])
@pytest.mark.parametrize("q", [0, 10, 37.5, 50, 90, 100])
def test_percentiles_are_those_of_numpy(count: int, q: float) -> None:
    sample = np.random.default_rng(count).lognormal(size=count).tolist()
    assert percentile(sample, q) == pytest.approx(np.percentile(sample, q), rel=1e-12)


def test_an_empty_sample_has_no_percentiles() -> None:
    with pytest.raises(ValueError, match="empty"):
        percentile([], 50)


def test_a_summary_does_not_depend_on_order_and_ignores_one_outlier() -> None:
    sample = [5.0, 1.0, 3.0, 2.0, 4.0]
    assert Summary.of(sample) == Summary(median=3.0, p10=1.4, p90=4.6, count=5)
    assert Summary.of([*sample[:-1], 1000.0]).median == 3.0


def test_a_ratio_is_taken_round_by_round() -> None:
    """Both slow down sixfold in the third round: the ratio of the two does not notice."""
    ours, theirs = [1.0, 1.1, 6.0], [2.0, 2.2, 12.0]
    assert paired_ratio(theirs, ours) == Summary(median=2.0, p10=2.0, p90=2.0, count=3)


def test_ratios_need_as_many_rounds_of_both() -> None:
    with pytest.raises(ValueError):
        paired_ratio([1.0, 2.0], [1.0])
