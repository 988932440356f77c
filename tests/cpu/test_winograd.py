"""Every Winograd tile on random shapes: exact integers once rounded, and as near float64 as promised."""

from __future__ import annotations

import random

import pytest
import torch

from tests.cpu.single_step import Pair, expected, make_native, plan_of, random_problem, run_guarded, values_of, window

# Algorithm, kernel, and the bound on the relative L2 error of a layer in float32 (docs/cpu-backend.md).
TILES: list[tuple[str, Pair, float]] = [
    ("F(4, 3) horizontal", (1, 3), 2e-6),
    ("F(4, 3) vertical", (3, 1), 2e-6),
    ("F(4, 3) horizontal", (3, 3), 2e-6),
    ("F(4, 3) vertical", (3, 3), 2e-6),
    ("F(6, 3) horizontal", (1, 3), 2e-6),
    ("F(6, 3) vertical", (3, 3), 2e-6),
    ("F(3, 4) horizontal", (1, 7), 2e-6),
    ("F(3, 4) vertical", (7, 1), 2e-6),
    ("F(3, 7) horizontal", (1, 7), 2e-6),
    ("F(3, 7) vertical", (7, 1), 2e-6),
    ("F(2x2, 3x3)", (3, 3), 1e-6),
    ("F(4x4, 3x3)", (3, 3), 3e-6),
    ("F(6x6, 3x3)", (3, 3), 5e-6),
    ("F(6x6, 3x3)", (5, 5), 5e-6),
    ("F(4x4, 5x5)", (5, 5), 6e-6),
]
BFLOAT16_TILES: list[tuple[str, Pair, float]] = [
    ("F(4, 3) horizontal", (1, 3), 8e-3),
    ("F(4, 3) vertical", (3, 1), 8e-3),
    ("F(3, 4) horizontal", (1, 7), 8e-3),
    ("F(3, 4) vertical", (7, 1), 8e-3),
    ("F(2x2, 3x3)", (3, 3), 8e-3),
]


@pytest.mark.parametrize("algorithm, kernel, bound", TILES, ids=[f"{a} for {k[0]}x{k[1]}" for a, k, _ in TILES])
@pytest.mark.parametrize("integers", [True, False], ids=["integers", "normal"])
def test_tile(isa: str, algorithm: str, kernel: Pair, bound: float, integers: bool) -> None:
    rng, ran = random.Random(0), 0
    for _ in range(25):
        problem = random_problem(rng, window(*kernel), (1, 1))
        plan = plan_of(problem)
        x, constants = values_of(problem, plan, integers)
        x, constants = x.float().double(), {k: v.float().double() for k, v in constants.items()}
        executor = make_native(plan, constants, isa, threads=rng.choice([1, 2]), algorithm=algorithm)
        ran += executor.report()[-1].algorithm == algorithm
        results = run_guarded(executor, plan, x.float())
        for got, want in zip(results, expected(problem, x, constants), strict=True):
            if integers:
                assert torch.equal(got.round().double(), want), problem
            else:
                assert (got.double() - want).norm() <= bound * want.norm(), problem
    assert ran >= 10, "the tile was not used"


def run_bfloat16(isa: str, algorithm: str, kernel: Pair, integers: bool) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Results and truths of random problems whose products are bfloat16's; the truth starts from rounded operands."""
    rng, pairs = random.Random(0), []
    for _ in range(40):
        problem = random_problem(rng, window(*kernel), (1, 1))
        plan = plan_of(problem, "bfloat16")
        x, constants = values_of(problem, plan, integers)
        x = x.bfloat16()
        constants = {k: v.to(getattr(torch, plan.constants[k].dtype)).double() for k, v in constants.items()}
        executor = make_native(plan, constants, isa, threads=rng.choice([1, 2]), algorithm=algorithm)
        if executor.report()[-1].algorithm == algorithm:
            truths = expected(problem, x.double(), constants, torch.bfloat16)
            pairs += zip(run_guarded(executor, plan, x), truths, strict=True)
    return pairs


@pytest.mark.usefixtures("_needs_dot")
@pytest.mark.parametrize("algorithm, kernel, bound", BFLOAT16_TILES, ids=[a for a, _, _ in BFLOAT16_TILES])
def test_bfloat16_products(isa: str, algorithm: str, kernel: Pair, bound: float) -> None:
    pairs = run_bfloat16(isa, f"{algorithm}, bfloat16 dot products", kernel, integers=False)
    assert len(pairs) >= 10, "the tile was not used"
    for got, want in pairs:
        assert (got.double() - want).norm() <= bound * want.norm()


@pytest.mark.usefixtures("_needs_dot")
def test_bfloat16_products_of_small_integers_are_exact(isa: str) -> None:
    """F(2x2, 3x3) only adds, and divides by four, so its operands are not rounded."""
    pairs = run_bfloat16(isa, "F(2x2, 3x3), bfloat16 dot products", (3, 3), integers=True)
    assert len(pairs) >= 10, "the tile was not used"
    for got, want in pairs:
        assert torch.equal(got, want.bfloat16())
