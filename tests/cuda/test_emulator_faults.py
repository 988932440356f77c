"""The emulator finds the mistakes that it is there to find, in small kernels and in conv_tile itself, and reports
nothing where there is none.
"""

from __future__ import annotations

import pytest
import torch

from tests.backends.cases import CASES
from tests.backends.harness import make_executor, network_input
from tests.cuda.driving import emulator

FINDINGS = {
    "missing_barrier": "wrote with no barrier between",
    "missing_warp_barrier": "wrote with no barrier between",
    "overwritten_too_early": "read with no barrier between",
    "shared_write_past_the_end": "past the 1024 that were declared",
    "global_write_past_the_end": "write of 16 bytes of global memory outside every buffer",
    "global_read_past_the_end": "read of 16 bytes of global memory outside every buffer",
    "unwritten_shared_memory": "nobody wrote",
    "missing_async_wait": "a cp.async of thread .* may not have landed",
    "wait_for_too_few_groups": "a cp.async of thread .* may not have landed",
    "wait_that_never_comes": "block 0, thread 0: deadlock: waits for a counter",
    "barrier_that_some_skip": "barrier",
    "split_warp": "its warp is split: it is at .*, others are at ",
    "unaligned_vector": "not aligned",
    "missing_cluster_barrier": r"thread \d+ of block 0 of the cluster wrote with no barrier between",
    "written_after_arrival": r"thread \d+ of block \d of the cluster wrote with no barrier between",
    "overwritten_under_other_block": r"thread \d+ of block \d of the cluster read with no barrier between",
    "unwritten_cluster_memory": "nobody wrote",
    "cluster_read_past_the_end": "past the 1024 that were declared",
    "block_that_leaves_its_cluster": "others of the cluster may still read its shared memory",
    "missing_acquire": "block 1, thread .*which block 0 wrote in the same launch with no release and acquire between",
    "written_after_release": "which block 0 wrote in the same launch with no release and acquire between",
    "two_blocks_write_one_place": "write of 16 bytes of global memory, which block 0 wrote in the same launch",
    "read_before_earlier_launches": "_1, block .* before it has waited for earlier launches",
    "write_before_earlier_launches": "_1, block .* before it has waited for earlier launches",
    "trigger_in_place_of_wait": "_1, block .* before it has waited for earlier launches",
    "middle_that_does_not_wait": "_2, block .*launches before kernel middle_that_does_not_wait_1 may still use",
    "unsettled_memory": "_1: takes for settled what launches write that may not have finished",
    "cluster_barrier_that_some_skip": "deadlock: waits for the cluster's barrier",
}
"""What the message must say, by planted mistake."""


def test_every_planted_mistake_is_listed() -> None:
    assert {*FINDINGS, "read_past_the_emulator"} == set(emulator().planted_names())


@pytest.mark.parametrize("name", FINDINGS)
def test_planted_mistake(name: str) -> None:
    emulator().run_planted(name, False)
    with pytest.raises(emulator().Fault, match=FINDINGS[name]) as caught:
        emulator().run_planted(name, True)
    assert str(caught.value).startswith(f"kernel {name}")
    emulator().run_planted(name, False)


def test_stores_are_held_back() -> None:
    """A launch that reads what an earlier one wrote, but not through the wrappers, finds what was there before."""
    vectors = list(range(1, 65))
    assert emulator().run_planted("read_past_the_emulator", False) == vectors
    assert emulator().run_planted("read_past_the_emulator", True) == [0] * len(vectors)


@pytest.mark.parametrize("omission", ["block_barrier", "async_wait", "launch_wait"])
@pytest.mark.parametrize("name", ["conv_3x3_wide", "conv_3x3_strided", "conv_1x1", "residual"])
def test_conv_tile_without_an_instruction(name: str, omission: str) -> None:
    """Every barrier and every wait of the real kernel matters, and its absence shows."""
    graph = CASES[name]()
    executor, x = make_executor("cuda", graph, "fp16"), network_input(graph, "fp16")
    want = executor.run(x)
    emulator().set_omission(getattr(emulator().Omission, omission))
    with pytest.raises(emulator().Fault, match=r"kernel stage_fp16, block \d+, thread \d+: "):
        executor.run(x)
    emulator().set_omission(emulator().Omission.none)
    for a, b in zip(executor.run(x), want, strict=True):
        assert torch.equal(a, b)


def test_ldmatrix_has_no_bank_conflicts_and_copies_are_wide() -> None:
    graph = CASES["conv_3x3_wide"]()
    executor, x = make_executor("cuda", graph, "fp16"), network_input(graph, "fp16")
    emulator().take_counts()
    executor.run(x.contiguous(memory_format=torch.channels_last))
    counts = emulator().take_counts()
    assert counts.matrix_loads > 0 and counts.matrix_products > 0
    assert counts.bank_conflicts == 0
    assert counts.async_copies == counts.async_copies_16 > 0
