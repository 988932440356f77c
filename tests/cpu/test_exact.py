"""Direct convolution on small integers, where every sum is exact, against its definition: no tolerance hides a wrong
index. Outputs start as NaN; what surrounds them, and the channels between slices, must not change.
"""

from __future__ import annotations

import random

import pytest
import torch

from tests.cpu.single_step import expected, make_native, plan_of, random_problem, run_guarded, values_of

SHAPES, PARTS = 1000, 10


def check(rng: random.Random, isa: str, dtype: torch.dtype) -> None:
    problem = random_problem(rng)
    plan = plan_of(problem, str(dtype).removeprefix("torch."))
    x, constants = values_of(problem, plan, integers=True)
    executor = make_native(plan, constants, isa, threads=rng.choice([1, 1, 2]), algorithm="direct")
    layout = rng.choice([torch.contiguous_format, torch.channels_last])
    results = run_guarded(executor, plan, x.to(dtype).contiguous(memory_format=layout))
    for got, want in zip(results, expected(problem, x, constants, dtype), strict=True):
        assert torch.equal(got, want.to(dtype)), problem


@pytest.mark.parametrize("part", range(PARTS))
def test_float32(isa: str, part: int) -> None:
    rng = random.Random(part)
    for _ in range(SHAPES // PARTS):
        check(rng, isa, torch.float32)


@pytest.mark.parametrize("shapes", [SHAPES // 5, pytest.param(SHAPES, marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_rounded_once(isa: str, dtype: torch.dtype, shapes: int) -> None:
    rng = random.Random(shapes)
    for _ in range(shapes):
        check(rng, isa, dtype)
