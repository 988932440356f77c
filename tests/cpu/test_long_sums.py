"""The error of a sum of products does not grow with its length."""

from __future__ import annotations

import torch

from tests.cpu.single_step import Problem, Target, make_native, plan_of, run_guarded, values_of

LENGTH = 100_000


def test_a_long_row(isa: str) -> None:
    torch.manual_seed(0)
    problem = Problem(
        taps=((0, 0),),
        stride=(1, 1),
        in_channels=LENGTH,
        source_size=(1, 1),
        source_start=0,
        source_channels=LENGTH,
        inner=True,
        size=(1, 1),
        targets=(Target(0, 0, 16, False),),
        widths=(16,),
        bias=True,
        residual_start=None,
        batch=3,
    )
    plan = plan_of(problem)
    x, constants = values_of(problem, plan, integers=False)
    # Of one sign, so that nothing cancels.
    x, constants = x.abs().float().double(), {k: v.abs().float().double() for k, v in constants.items()}
    (got,) = run_guarded(make_native(plan, constants, isa), plan, x.float())[:1]
    want = (x.flatten(1) @ constants["tested.w"][:, 0].T + constants["tested.b"])[..., None, None]
    assert (got.double() - want).norm() <= 2e-6 * want.norm()
