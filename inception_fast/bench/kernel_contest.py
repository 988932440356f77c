"""A fused step against its unfused PyTorch twin."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from inception_fast.backends import Backend
from inception_fast.bench.accuracy import Error, allowed, compare, flatten, within
from inception_fast.bench.contest import numerics
from inception_fast.bench.layers import Layer, typed
from inception_fast.bench.peers.eager import FORMATS
from inception_fast.bench.statistics import Summary, paired_ratio
from inception_fast.bench.timing import captured, interleave, timer_for
from inception_fast.bench.twins import Twin, operands_of
from inception_fast.plan.cost import operations, traffic
from inception_fast.plan.engine_file import PRECISIONS

SHORTEST_SAMPLE = 1e-3
"""Seconds: a kernel of microseconds is called many times a sample."""

PAUSE = 2e-2
"""Seconds, on a CPU: the threads of OpenMP, which are eager's, spin for longer than a kernel takes."""


@dataclass(frozen=True)
class KernelRow:
    """One layer's result.

    Attributes:
        names: of the steps that have this shape.
        ours, eager: seconds; the twin in the memory format that was faster, which ``memory_format`` names.
        ratio: eager over ours, round by round.
        operations: floating-point operations of the batch.
        traffic: bytes that the fused step must move at least.
    """

    label: str
    names: tuple[str, ...]
    ours: Summary
    eager: Summary
    memory_format: str
    ratio: Summary
    operations: int
    traffic: int
    error: Error
    bound: float
    correct: bool


def hold(layer: Layer, backend: Backend, *, batch: int, precision: str, device: torch.device, rounds: int) -> KernelRow:
    """Times one layer, and compares it with its twin in float64 on the CPU."""
    plan, constants = typed(layer, PRECISIONS[precision])
    dtype = getattr(torch, plan.dtype)
    shape = plan.buffers[0]
    generator = torch.Generator().manual_seed(0)
    # Half of it zeros, as behind a ReLU.
    x = torch.randn(batch, shape.channels, shape.height, shape.width, generator=generator).relu_().to(dtype)
    twin = Twin(layer.plan, layer.constants)
    with numerics(precision):
        truth = twin(*operands_of(plan, x.double(), torch.contiguous_format))
        executor = backend.compile(plan, constants, device=device, precision=precision)
        ours = x.to(device).contiguous(memory_format=torch.channels_last)
        launches = executor.unrecorded(batch)
        runs: dict[str, Callable[[], object]] = {"ours": captured(lambda: launches.run(ours), device)}
        for name, memory_format in FORMATS.items():
            runs[name] = _eager(twin, operands_of(plan, x.to(device), memory_format), memory_format)
        error = compare(flatten(runs["ours"]()), truth)
        yardstick = compare(flatten(runs["contiguous"]()), truth).relative_l2
        timer = timer_for(device)
        pause = PAUSE if device.type == "cpu" else 0.0
        samples = interleave(runs, rounds=rounds, timer=timer, shortest_sample=SHORTEST_SAMPLE, pause=pause)
    best = min(FORMATS, key=lambda name: Summary.of(samples[name]).median)
    bound = allowed(precision, yardstick)
    return KernelRow(
        label=layer.label,
        names=layer.names,
        ours=Summary.of(samples["ours"]),
        eager=Summary.of(samples[best]),
        memory_format=best,
        ratio=paired_ratio(samples[best], samples["ours"]),
        operations=batch * operations(plan, layer.step),
        traffic=traffic(plan, layer.step, batch),
        error=error,
        bound=bound,
        correct=within(error, bound),
    )


def time_concat(
    pieces: Sequence[tuple[int, int, int]], *, batch: int, precision: str, device: torch.device, rounds: int
) -> Summary:
    """Seconds of ``torch.cat`` of ``(channels, height, width)`` pieces, which a Plan does not need."""
    dtype = getattr(torch, PRECISIONS[precision])
    parts = [
        torch.zeros(batch, *piece, dtype=dtype, device=device).contiguous(memory_format=torch.channels_last)
        for piece in pieces
    ]
    runs = {"cat": captured(lambda: torch.cat(parts, dim=1), device)}
    samples = interleave(runs, rounds=rounds, timer=timer_for(device), shortest_sample=SHORTEST_SAMPLE)
    return Summary.of(samples["cat"])


def _eager(twin: Twin, operands: list[torch.Tensor], memory_format: torch.memory_format) -> Callable[[], object]:
    module = copy.deepcopy(twin).to(operands[0].device, operands[0].dtype).to(memory_format=memory_format)
    return captured(lambda: module(*operands), operands[0].device)
