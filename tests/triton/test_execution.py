"""How the executor divides a Plan into launches, and that every division computes the same."""

from __future__ import annotations

import pytest
import torch

from inception_fast.backends.reference import ReferenceExecutor
from inception_fast.plan.lower import lower
from inception_fast.plan.plan import Plan
from inception_fast.tuning import choice
from inception_fast.tuning.candidates import H200
from inception_fast.tuning.choice import ConfigChoice
from tests.backends.harness import CPU
from tests.graph.check import relative_error
from tests.triton.blocks import block
from tests.triton.exact import DEVICE, requires_triton

pytestmark = requires_triton


def executor(plan: Plan, constants: dict[str, torch.Tensor], **options: bool):
    from inception_fast.backends.triton_executor import TritonExecutor

    return TritonExecutor(plan, constants, DEVICE, **options)


def test_the_branches_of_a_stage_share_a_launch() -> None:
    plan, constants = lower(block())
    x = torch.randn(3, 3, 11, 13)
    together = executor(plan, constants)
    launches = together.launches(3)
    assert sorted(len(names) for names in launches) == [1, 1, 1, 2, 2]
    assert sorted(name for names in launches for name in names) == sorted(plan.step_names)
    truth = ReferenceExecutor(plan, constants, CPU).run(x)
    together.run(torch.full_like(x, float("nan"), device=DEVICE))
    (got,) = together.run(x.to(DEVICE))
    assert relative_error(got.cpu().double(), truth[0].double()) < 5e-6


def test_one_launch_each_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, constants = lower(block())
    x = torch.randn(2, 3, 11, 13, device=DEVICE)
    (together,) = executor(plan, constants).run(x)
    monkeypatch.setattr(ConfigChoice, "group", lambda self, problems: None)
    apart = executor(plan, constants)
    assert all(len(names) == 1 for names in apart.launches(2))
    assert relative_error(apart.run(x)[0].cpu().double(), together.cpu().double()) < 1e-6


def test_profile_has_an_entry_for_each_launch() -> None:
    plan, constants = lower(block())
    run = executor(plan, constants)
    times = run.profile(torch.randn(2, 3, 11, 13, device=DEVICE))
    assert [t.step for t in times] == [names[0] for names in run.launches(2)]
    assert all(t.seconds >= 0 for t in times)
    names = next(names for names in run.launches(2) if len(names) == 2)
    assert next(t for t in times if t.step == names[0]).algorithm == f"with {names[1]}"


def test_the_batch_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little work shares launches, much does not; with ``batch_invariant`` every batch is divided alike."""
    from inception_fast.backends.triton_launches import plan_launches

    monkeypatch.setattr(choice, "limits_of", lambda device: H200)
    monkeypatch.setattr(choice, "known_entries", lambda machine: {})
    monkeypatch.setattr(choice, "machine_of", lambda device: None)
    plan, _ = lower(block(), "float16")

    def launches(images: int, batch_invariant: bool = False) -> int:
        choose = ConfigChoice(torch.device("cuda"), batch_invariant)
        return len(plan_launches(plan, "fp16", images, choose))

    assert launches(1) == len(plan.steps) - 2 and launches(1024) == len(plan.steps)
    assert len({launches(images, batch_invariant=True) for images in (1, 16, 1024)}) == 1
