"""``torch``: the Plan on PyTorch's own best kernels: oneDNN on CPUs, cuDNN under a CUDA graph on GPUs.

The libraries allocate their results, so a step that fills a whole buffer becomes that buffer, and one that fills a
slice of a concat is written there by its epilogue's last pass (a ReLU, where one is left to do, else a copy).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import accumulate
from typing import Literal

import torch

from inception_fast.backends.base import (
    Availability,
    Backend,
    Executor,
    Lowering,
    Out,
    StepTime,
    deliver,
    refuse_quantized,
)
from inception_fast.backends.cuda_graph import CudaGraphs
from inception_fast.backends.pieces import run_per_image, run_pieces
from inception_fast.backends.shared import Shared
from inception_fast.backends.stopwatch import Stopwatch
from inception_fast.backends.torch_buffers import Buffers, reader, writer
from inception_fast.backends.torch_convs import PLAIN, OneDnnConv, Proven, fused_conv
from inception_fast.backends.torch_kernels import plain_kernel
from inception_fast.backends.torch_range import Bounds, OutOfRangeError, growths, safe_limit
from inception_fast.backends.unmerge import unmerge
from inception_fast.plan.memory import lifetimes
from inception_fast.plan.plan import (
    ConvStep,
    PairStep,
    Plan,
    PointwiseStep,
    Slice,
    Step,
    destinations_of,
    sources_of,
)

Run = Callable[[Buffers], None]
Variant = Literal["image", "batch", "exact", "library"]
"""How convolutions run: oneDNN for one image or for a batch, PyTorch's own, which keep a NaN, or what the device
has.
"""
PIECE_BYTES = 48 << 20
"""Limit of an activation on CPUs. The C library returns larger ones to the system when they are freed, and their pages
are cleared anew at each use; smaller pieces of a batch read the weights more often. Between the two by measurement.
"""
STEM_BYTES = 16 << 20
"""Limit of an activation in the first layers on CPUs, whose weights are small and whose images are large: under it,
what one step writes is still in the cache when the next one reads it.
"""


class TorchBackend(Backend):
    """See the module."""

    name = "torch"
    lowering = Lowering(pair=False)

    def availability(self) -> Availability:
        return Availability(True)

    def compile(
        self,
        plan: Plan,
        constants: Mapping[str, torch.Tensor],
        *,
        device: torch.device,
        precision: str = "fp32",
        batch_invariant: bool = False,
        shared: Shared | None = None,
    ) -> Executor:
        refuse_quantized(plan, self.name)
        passes = TorchExecutor(plan, constants, device, precision == "tf32", batch_invariant)
        return CudaGraphs(passes, plan, device) if device.type == "cuda" else passes


class TorchExecutor(Executor):
    """Runs a Plan step by step; memory comes from PyTorch's allocator and goes back after the last stage that reads
    it.
    """

    def __init__(
        self,
        plan: Plan,
        constants: Mapping[str, torch.Tensor],
        device: torch.device,
        allow_tf32: bool = False,
        batch_invariant: bool = False,
    ) -> None:
        self._plan, self._batch_invariant, self._allow_tf32 = plan, batch_invariant, allow_tf32
        self._constants = {k: v.to(device) for k, v in constants.items()}
        self._fused = fused_conv(device, self._dtype)
        # cuDNN's is not known to lose a NaN, and a look at the numbers would stop the device.
        self._growths = growths(plan, constants) if self._fused is OneDnnConv else []
        self._limit = safe_limit(self._dtype)
        self._variants: dict[Variant, list[Run]] = {}
        self._lock = threading.Lock()
        lives = lifetimes(plan.steps, plan.stages)
        ends: list[list[int]] = [[] for _ in plan.steps]
        for index, life in lives.items():
            if plan.buffers[index].home == "arena":
                ends[plan.stages[life.last][-1]].append(index)
        self._ends = ends
        sizes = [max(plan.buffers[p.buffer].size for p in _touched(step)) for step in plan.steps]
        # The largest activation of each step and those behind it, in elements per image.
        self._largest = list(accumulate(reversed(sizes), max))[::-1]
        # Faults show here, not at the first call.
        with self._library_settings(device):
            self._runs_of("image" if self._fused is OneDnnConv else "library")

    @property
    def packed(self) -> Mapping[Hashable, int]:
        """The library's own layouts, which depend on the image size: one for each kind of batch met so far."""
        each = sum(t.nbytes for t in self._constants.values())
        return {(id(self), variant): each for variant in tuple(self._variants)}

    def run(self, x: torch.Tensor, out: Out | None = None) -> list[torch.Tensor]:
        with torch.no_grad(), self._library_settings(x.device):
            if self._batch_invariant:
                return deliver(self._plan, run_per_image(self._pass, x), out)
            return deliver(self._plan, run_pieces(self._pass, self._pieces(x)), out)

    def _pieces(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The batch in equal parts whose activations stay under PIECE_BYTES, on a CPU."""
        return (x,) if x.is_cuda else _parts(x, max(b.size for b in self._plan.buffers), PIECE_BYTES)

    def profile(self, x: torch.Tensor) -> list[StepTime]:
        with torch.no_grad(), self._library_settings(x.device):
            watch = Stopwatch(x.device)
            self._pass(x, done=watch.lap)
            return watch.times()

    def _library_settings(self, device: torch.device) -> AbstractContextManager[None]:
        if device.type != "cuda":
            return nullcontext()
        # By default `flags` switches cuDNN off.
        return torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=self._allow_tf32)

    def _pass(self, x: torch.Tensor, done: Callable[[str], None] | None = None) -> list[torch.Tensor]:
        x = x.contiguous(memory_format=torch.channels_last)
        if self._fused is not OneDnnConv:
            return self._forward(x, "library", done)
        try:
            return self._forward(x, "image" if len(x) == 1 else "batch", done)
        except OutOfRangeError:
            return self._forward(x, "exact", done)

    def _forward(self, x: torch.Tensor, variant: Variant, done: Callable[[str], None] | None) -> list[torch.Tensor]:
        runs = self._runs_of(variant)
        stem = 0 if x.is_cuda or done else self._stem(x)
        parts = _parts(x, self._largest[0], STEM_BYTES) if stem else (x,)
        guards = [self._guard(part, variant) for part in parts]
        heads = [
            self._advance(runs, self._start(part), 0, stem, done, guard)
            for part, guard in zip(parts, guards, strict=True)
        ]
        buffers = heads[0] if len(heads) == 1 else [_join(pieces) for pieces in zip(*heads, strict=True)]
        guard = _joined(guards)
        buffers[self._plan.input] = x
        self._advance(runs, buffers, stem, len(runs), done, guard)
        return [buffers[o.buffer] for o in self._plan.outputs]  # type: ignore[misc]

    def _guard(self, x: torch.Tensor, variant: Variant) -> Bounds | None:
        """What watches over kernels that lose a NaN."""
        if variant not in ("image", "batch"):
            return None
        return Bounds(self._growths, self._limit, len(self._plan.buffers), x, self._plan.input)

    def _start(self, x: torch.Tensor) -> Buffers:
        buffers: Buffers = [None] * len(self._plan.buffers)
        buffers[self._plan.input] = x
        return buffers

    def _advance(
        self,
        runs: list[Run],
        buffers: Buffers,
        start: int,
        stop: int,
        done: Callable[[str], None] | None,
        guard: Bounds | None,
    ) -> Buffers:
        """Runs the steps from ``start`` to before ``stop``, and lets go of what no later step reads."""
        for index in range(start, stop):
            if guard is not None:
                guard.step(index, buffers)
            runs[index](buffers)
            if done is not None:
                done(self._plan.step_names[index])
            for dead in self._ends[index]:
                buffers[dead] = None
        return buffers

    def _stem(self, x: torch.Tensor) -> int:
        """Number of leading steps after which every activation of the batch stays under STEM_BYTES."""
        limit = STEM_BYTES // (len(x) * x.element_size())
        return next((i for i, size in enumerate(self._largest) if size <= limit), 0)

    def _plane(self, piece: Slice) -> tuple[int, int]:
        buffer = self._plan.buffers[piece.buffer]
        return buffer.height, buffer.width

    def _runs_of(self, variant: Variant) -> list[Run]:
        """The steps as functions of the buffers; built when first wanted."""
        if variant not in self._variants:
            with self._lock, torch.no_grad():
                if variant not in self._variants:
                    kernel = self._kernel(variant)
                    self._variants[variant] = [self._build(step, variant, kernel) for step in self._plan.steps]
        return self._variants[variant]

    def _kernel(self, variant: Variant) -> Proven:
        if variant == "exact" or self._fused is None:
            return Proven(PLAIN, 1, self._allow_tf32)
        if self._fused is not OneDnnConv:
            return Proven((self._fused, *PLAIN), 1, self._allow_tf32)
        # oneDNN lays weights out in one way for an image and in another for any batch.
        batch = 2 if variant == "batch" else 1
        return Proven((partial(OneDnnConv, batch=batch), *PLAIN), batch)

    def _build(self, step: Step, variant: Variant, kernel: Proven) -> Run:
        if variant == "batch" and isinstance(step, ConvStep) and len(step.destinations) > 1:
            # Over a batch, the pass that scatters a merged product costs more memory traffic than the merging saves.
            parts, rows = unmerge(step, self._constants)
            runs = [self._build_step(part, {**self._constants, **rows}, kernel) for part in parts]
            return lambda buffers: _run_all(runs, buffers)
        return self._build_step(step, self._constants, kernel)

    def _build_step(self, step: Step, constants: Mapping[str, torch.Tensor], kernel: Proven) -> Run:
        source, targets = self._plane(step.source), destinations_of(step)
        size = self._plane(targets[0].slice)
        # A ReLU goes into the library's epilogue where all destinations want it.
        relu = all(d.relu for d in targets)
        match step:
            case ConvStep():
                conv = kernel(step.conv, constants, source, size, relu, step.residual is not None)
                return self._two_operands(step, constants, conv, fused_relu=relu)
            case PairStep():
                middle = (step.middle_height, step.middle_width)
                first = kernel(step.first, constants, source, middle, step.first_relu)
                second = kernel(step.second, constants, middle, size, relu, step.residual is not None)
                return self._two_operands(step, constants, lambda x, r: second(first(x, None), r), fused_relu=relu)
            case _:
                plain = plain_kernel(step, constants, self._dtype, source, size)
                return self._two_operands(step, constants, plain)

    @property
    def _dtype(self) -> torch.dtype:
        return getattr(torch, self._plan.dtype)

    def _two_operands(
        self,
        step: Step,
        constants: Mapping[str, torch.Tensor],
        kernel: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor],
        fused_relu: bool = False,
    ) -> Run:
        """Read, compute, write; what does not depend on the data is decided here, once."""
        read = reader(self._plan, step.source)
        second = next(iter(sources_of(step)[1:]), None)
        read_second = (lambda _: None) if second is None else reader(self._plan, second)
        write = writer(self._plan, destinations_of(step), constants, fused_relu)
        # A step with nothing to compute returns its operand, and its destination must be memory of its own.
        may_alias = isinstance(step, PointwiseStep)

        def run(buffers: Buffers) -> None:
            source = read(buffers)
            result = kernel(source, read_second(buffers))
            write(buffers, result.clone() if may_alias and result is source else result)

        return run


def _run_all(runs: list[Run], buffers: Buffers) -> None:
    for run in runs:
        run(buffers)


def _touched(step: Step) -> tuple[Slice, ...]:
    return (*sources_of(step), *(d.slice for d in destinations_of(step)))


def _parts(x: torch.Tensor, size: int, limit: int) -> tuple[torch.Tensor, ...]:
    """Equal parts of a batch, of two images or more; activations of ``size`` elements stay under ``limit`` bytes."""
    count = -(-len(x) * size * x.element_size() // limit)
    return x.chunk(max(1, min(count, len(x) // 2)))


def _joined(guards: list[Bounds | None]) -> Bounds | None:
    whole, *others = guards
    for other in others:
        if whole is not None and other is not None:
            whole.join(other)
    return whole


def _join(pieces: tuple[torch.Tensor | None, ...]) -> torch.Tensor | None:
    present = [p for p in pieces if p is not None]
    return torch.cat(present) if present else None
