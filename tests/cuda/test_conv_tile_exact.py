"""conv_tile on small integers, where every sum is exact in every precision, against the definition of a convolution: no
tolerance hides a wrong index. Outputs start as NaN; what surrounds them, and the channels between slices, must not
change.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from tests.cpu.single_step import Problem, expected, plan_of, random_problem, run_guarded, values_of
from tests.cuda.driving import DTYPES, Emulated

SHAPES = 150
"""Per precision."""


def wide_problem(rng: random.Random) -> Problem:
    """Channels from 1 to 200, in slices at every offset."""
    problem = random_problem(rng)
    in_channels, source_start = rng.randint(1, 200), rng.choice([0, 8, 16, rng.randint(0, 40)])
    source_channels = source_start + in_channels + rng.choice([0, 1, 8])
    # A whole number of vectors is what 16-byte copies need.
    if rng.random() < 0.5:
        source_channels += -source_channels % 8
    return replace(problem, in_channels=in_channels, source_start=source_start, source_channels=source_channels)


@pytest.mark.parametrize("precision", DTYPES)
def test_exact(precision: str) -> None:
    rng, dtype = random.Random(precision), DTYPES[precision]
    for _ in range(SHAPES):
        problem = wide_problem(rng)
        plan = plan_of(problem, str(dtype).removeprefix("torch."))
        x, constants = values_of(problem, plan, integers=True)
        layout = rng.choice([torch.contiguous_format, torch.channels_last])
        results = run_guarded(Emulated(plan, constants, precision), plan, x.to(dtype).contiguous(memory_format=layout))
        for got, want in zip(results, expected(problem, x, constants, dtype), strict=True):
            assert torch.equal(got, want.to(dtype)), problem
