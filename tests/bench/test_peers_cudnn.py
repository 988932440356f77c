"""cuDNN's peer without cuDNN: a Plan's steps over its memory, the convolutions run from their descriptions."""

from __future__ import annotations

import importlib.util
import sys
from contextlib import nullcontext
from functools import partial
from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import pytest
import torch

from inception_fast.backends.memory import Memory
from inception_fast.bench.accuracy import compare, flatten, true_outputs
from inception_fast.bench.peers import PEERS, PeerUnavailableError, Task, cudnn_steps
from inception_fast.bench.peers import cudnn as peer
from inception_fast.bench.peers.cudnn_problem import Problem, Tensors
from inception_fast.bench.peers.cudnn_steps import Run, Steps
from inception_fast.graph import ir
from inception_fast.graph.interpreter import interpret
from inception_fast.lowering.lower import lower
from tests.backends.cases import CASES
from tests.bench.cudnn_on_torch import ON_TORCH, from_memory, in_copies
from tests.bench.nets import FAMILY_PARAMETERS, images, small
from tests.graph.build import Build
from tests.graph.check import relative_error
from tests.graph.families import family_graph

MERGED = ("conv_functions", "factorized_pairs", "merged_siblings", "union_of_taps")
SINGLE = [name for name in CASES if name not in MERGED]
"""Networks whose convolutions have one destination each."""


def check(
    graph: ir.Graph, make: cudnn_steps.Make, monkeypatch: pytest.MonkeyPatch, before: ir.Graph | None = None
) -> Steps:
    """Runs a prepared graph on poisoned memory, twice, against the one before it, or itself, in float64."""
    monkeypatch.setattr(cudnn_steps, "Memory", partial(Memory, fill=float("nan")))
    x = torch.randn(2, *graph.input.op.shape)  # type: ignore[attr-defined]
    steps = Steps(*lower(graph), peer.widened(x), make)
    truth = interpret(before or graph, x)
    for _ in range(2):
        for index, (got, want) in enumerate(zip(steps(), truth, strict=True)):
            assert relative_error(got.double(), want) < 5e-6, f"output {index}"
    return steps


@pytest.mark.parametrize("make", [from_memory, in_copies])
@pytest.mark.parametrize("name", SINGLE)
def test_step(name: str, make: cudnn_steps.Make, monkeypatch: pytest.MonkeyPatch) -> None:
    check(CASES[name](), make, monkeypatch)


@pytest.mark.parametrize("name", FAMILY_PARAMETERS)
def test_families_write_in_place(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No convolution of the family needs a copy."""
    before = family_graph(name)
    graph = peer.fused(before)
    steps = check(graph, from_memory, monkeypatch, before)
    assert steps.in_place == steps.convolutions == sum(1 for _ in graph.of_kind(ir.Conv2d, ir.Linear))


def test_a_slice_at_an_odd_address_goes_by_way_of_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = check(CASES["pools_in_concat"](), from_memory, monkeypatch)
    assert 0 < steps.in_place < steps.convolutions


@pytest.mark.parametrize("name", ["merged_siblings", "factorized_pairs"])
def test_what_is_more_than_a_convolution_is_refused(name: str) -> None:
    plan, constants = lower(CASES[name]())
    whole = torch.zeros(1, *CASES[name]().input.op.shape)  # type: ignore[attr-defined]
    with pytest.raises(PeerUnavailableError, match="more than one"):
        Steps(plan, constants, whole, from_memory)


def test_a_convolution_without_a_kernel_is_named() -> None:
    def make(problem: Problem, tensors: Tensors) -> Run:
        raise NotImplementedError("none at all")

    build = Build(3, 4, 5)
    build.conv("x", 2, name="lonely")
    with pytest.raises(PeerUnavailableError, match="no kernel for lonely: none at all"):
        Steps(*lower(build.graph()), torch.zeros(1, 3, 4, 5), make)


def test_images_are_widened_to_whole_vectors() -> None:
    x = torch.randn(2, 3, 5, 7).half()
    wide = peer.widened(x)
    assert wide.shape == (2, 8, 5, 7) and wide.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(wide[:, :3], x) and not wide[:, 3:].any()
    assert peer.widened(torch.randn(1, 4, 5, 7)).shape == (1, 4, 5, 7)


def test_it_takes_no_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: ModuleSpec(name, None))
    with pytest.raises(PeerUnavailableError, match="no kernels for cpu"):
        PEERS["cudnn"](Task(small(), images(1), "fp16", torch.device("cpu"), threads=1))


@torch.no_grad()
def test_the_whole_way_to_a_contestant(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the device: the library's module and CUDA's streams are stood in for, and nothing is recorded."""
    monkeypatch.setitem(sys.modules, "cudnn", ON_TORCH)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: ModuleSpec(name, None))
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=0))
    monkeypatch.setattr(peer, "captured", lambda run, device=None: run)
    monkeypatch.setattr(peer, "seconds", lambda run: 1.0)
    monkeypatch.setattr(Task, "input", lambda task, layout: task.images.contiguous(memory_format=layout))
    task = Task(small(), images(3), "tf32", torch.device("cuda"), threads=1)
    (contestant,) = PEERS["cudnn"](task)
    assert contestant.record is not None and contestant.record() is contestant.run
    assert compare(flatten(contestant.run()), true_outputs(task.model, task.images)).relative_l2 < 2e-6
    # Two branches of the block begin at channels 18 and 26, which are no multiples of 16 bytes.
    assert "11 of 13 convolutions in place" in contestant.note
