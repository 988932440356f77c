"""Some hundred random networks on every backend; ``make fuzz`` runs as many as there is time for."""

from __future__ import annotations

import pytest
import torch

from inception_fast.backends import get_backend
from inception_fast.backends.cpu import native
from tests.backends.harness import here_on_the_cpu
from tests.fuzz.sweep import Choice, sweep

PRECISIONS = ("fp32", "bf16", "fp16")
NETWORKS, PARTS = 300, 6
TINY_NETWORKS = 24


def assert_none_fails(choice: Choice, seeds: range) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = [found for found in sweep(choice, seeds) if found is not None]
    finally:
        torch.set_num_threads(threads)
    assert not found, "\n".join(map(str, found))


def seeds_of(part: int) -> range:
    share = NETWORKS // PARTS
    return range(part * share, (part + 1) * share)


@pytest.mark.filterwarnings("ignore:example_inputs. int8 is calibrated:UserWarning")
@pytest.mark.parametrize("part", range(PARTS))
def test_cpu(part: int) -> None:
    """Every instruction set and precision in turn."""
    here_on_the_cpu("cpu")
    precisions = (*PRECISIONS, "fp32", "int8")
    assert_none_fails(Choice("cpu", native().instruction_sets(), precisions, captured=NETWORKS // 6), seeds_of(part))


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("backend", ["torch", "reference"])
def test_pytorch(backend: str, part: int) -> None:
    # Half precisions are slow in PyTorch's own operators, and add nothing to what they compute.
    precisions = ("fp32", "fp32", "fp32", "bf16") if backend == "torch" else ("fp32",)
    assert_none_fails(Choice(backend, precisions=precisions, captured=NETWORKS // 3), seeds_of(part))


def test_interpreter() -> None:
    here_on_the_cpu("triton")
    assert_none_fails(Choice("triton", precisions=PRECISIONS), range(TINY_NETWORKS))


def test_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INCEPTION_FAST_EMULATE", "1")
    availability = get_backend("cuda").availability()
    if not availability.available:
        pytest.skip(availability.reason)
    assert_none_fails(Choice("cuda", precisions=PRECISIONS), range(TINY_NETWORKS))
