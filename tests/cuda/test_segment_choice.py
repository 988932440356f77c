"""The time model cuts sums into segments: what it gains, what it goes by, and what it must not depend on."""

from __future__ import annotations

import torch

from benchmarks.close_reading import inception_v3
from inception_fast.backends.cuda import CudaExecutor, native
from inception_fast.plan.serialize import plan_to_json
from inception_fast.tuning.machine_constants import shipped_machine
from tests.backends.harness import CPU, lowered, network_input
from tests.cuda.driving import emulator
from tests.cuda.test_split_k import deep_network

WHOLE = "shortest=1000000"


def machine(**constants: float):
    result = native(emulate=True).MachineConstants()
    for name, value in constants.items():
        setattr(result, name, value)
    return result


def segments(options: str = "", driver: str = "stage", **constants: float) -> dict[str, int]:
    """Of each convolution of Inception-v3 in fp16."""
    plan = plan_to_json(inception_v3())
    launches, _ = native(emulate=True).describe(plan, 1, "fp16", driver, machine(**constants), options)
    return {step.name: int(step.parts) for steps in launches for step in steps if step.chunks > 0}


def total(options: str) -> float:
    plan = plan_to_json(inception_v3())
    return sum(t.total for t in native(emulate=True).predict(plan, 1, "fp16", "stage", machine(), options))


def test_no_slower_than_whole_sums_or_full_waves() -> None:
    chosen = total("")
    assert chosen < 0.95 * total(WHOLE)
    assert all(chosen <= 1.01 * total(f"shortest={n},waves={waves}") for n in (256, 384, 1024) for waves in (1, 2))


def test_launches_that_fill_the_device_keep_whole_sums() -> None:
    """And segments are only where there is room for all of them at once."""
    launches, _ = native(emulate=True).describe(plan_to_json(inception_v3()), 1, "fp16", "stage", machine())
    for steps in launches:
        convolutions = [step for step in steps if step.chunks > 0]
        tiles = sum(step.blocks / step.parts for step in convolutions)
        blocks = sum(step.blocks for step in convolutions)
        assert all(step.parts == 1 for step in convolutions) if tiles > 2 * 132 else blocks <= 4 * 132


def test_constants_move_the_choice_the_right_way() -> None:
    usual = sum(segments().values())
    whole = len(segments())
    assert set(segments(WHOLE).values()) == {1} and usual > whole
    # A loop that costs less or more.
    assert sum(segments(lone_warp=0.5).values()) < usual < sum(segments(lone_warp=20).values())
    # Bytes that nobody can move faster are no reason to cut anything.
    assert sum(segments(l2_bandwidth=1e-3).values()) == whole
    assert sum(segments(multiprocessors=4).values()) < usual


def test_drivers_agree() -> None:
    assert segments() == segments(driver="network")


def test_the_executor_goes_by_its_machine() -> None:
    """Another order of the same sum: other bits, within rounding."""
    emulator().set_limits(132)
    graph = deep_network()
    plan, constants = lowered(graph, "fp32")
    x = network_input(graph, "fp32", 1)
    slow = shipped_machine().measured("slow", {"l2_bandwidth": (1e-6, "test")})
    usual, whole = (CudaExecutor(plan, constants, CPU, "fp32", machine=m) for m in (None, slow))
    (split,), (one,) = usual.run(x), whole.run(x)
    assert not torch.equal(split, one)
    assert torch.allclose(split, one, rtol=1e-4, atol=1e-5)
    assert torch.equal(one, CudaExecutor(plan, constants, CPU, "fp32", options=WHOLE).run(x)[0])
