"""``torch``: the Plan on PyTorch's own best kernels: oneDNN on CPUs, cuDNN under a CUDA graph on GPUs.

The libraries allocate their results, so a step that fills a whole buffer becomes that buffer, and one that fills a
slice of a concat is written there by its epilogue's last pass (a ReLU, where one is left to do, else a copy).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from itertools import accumulate
from operator import itemgetter

import torch

from inception_fast.backends.base import Availability, Backend, Executor, Lowering, StepTime
from inception_fast.backends.cuda_graph import CudaGraphs
from inception_fast.backends.per_image import run_per_image
from inception_fast.backends.stopwatch import Stopwatch
from inception_fast.backends.torch_kernels import (
    AtenConv,
    ConvKernel,
    OneDnnConv,
    conv_class,
    normalize_kernel,
    pointwise_kernel,
    pool_kernel,
    resize_kernel,
)
from inception_fast.plan.memory import lifetimes
from inception_fast.plan.plan import (
    ConvStep,
    Destination,
    NormalizeStep,
    PairStep,
    Plan,
    PointwiseStep,
    PoolStep,
    ResizeStep,
    Slice,
    Step,
    destinations_of,
)

Buffers = list[torch.Tensor | None]


class TorchBackend(Backend):
    """See the module."""

    name = "torch"
    lowering = Lowering(pair=False)

    def availability(self) -> Availability:
        return Availability(True)

    def devices(self) -> tuple[str, ...]:
        return ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)

    def compile(
        self,
        plan: Plan,
        constants: Mapping[str, torch.Tensor],
        *,
        device: torch.device,
        precision: str = "fp32",
        batch_invariant: bool = False,
    ) -> Executor:
        passes = TorchExecutor(plan, constants, device, precision == "tf32", batch_invariant)
        return CudaGraphs(passes, device) if device.type == "cuda" else passes


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
        # oneDNN's fused ReLU makes zero of NaN: what may hold one goes another way.
        self._loses_nan = conv_class(device, self._dtype) is OneDnnConv
        keeps_nan = self._loses_nan and any(bool(v.isnan().any()) for v in self._constants.values())
        self._runs = self._exact_runs if keeps_nan else self._build(conv_class(device, self._dtype))
        lives = lifetimes(plan.steps, plan.stages)
        ends: list[list[int]] = [[] for _ in plan.steps]
        for index, life in lives.items():
            if plan.buffers[index].home == "arena":
                ends[plan.stages[life.last][-1]].append(index)
        self._ends = ends

    def run(self, x: torch.Tensor) -> list[torch.Tensor]:
        with torch.no_grad(), self._library_settings(x):
            if self._batch_invariant:
                return run_per_image(self._pass, x)
            return self._pass(x)

    def profile(self, x: torch.Tensor) -> list[StepTime]:
        with torch.no_grad(), self._library_settings(x):
            watch = Stopwatch(x.device)
            self._pass(x, done=watch.lap)
            return watch.times()

    def _library_settings(self, x: torch.Tensor) -> AbstractContextManager[None]:
        return torch.backends.cudnn.flags(allow_tf32=self._allow_tf32) if x.is_cuda else nullcontext()

    def _pass(self, x: torch.Tensor, done: Callable[[str], None] | None = None) -> list[torch.Tensor]:
        buffers: Buffers = [None] * len(self._plan.buffers)
        buffers[self._plan.input] = x.contiguous(memory_format=torch.channels_last)
        # A sum that is not finite costs time where there is no NaN, and nothing else.
        suspicious = self._loses_nan and not math.isfinite(x.sum(dtype=torch.float32).item())
        runs = self._exact_runs if suspicious else self._runs
        for name, run, ends in zip(self._plan.step_names, runs, self._ends, strict=True):
            run(buffers)
            if done is not None:
                done(name)
            for index in ends:
                buffers[index] = None
        return [buffers[o.buffer] for o in self._plan.outputs]  # type: ignore[misc]

    def _plane(self, piece: Slice) -> tuple[int, int]:
        buffer = self._plan.buffers[piece.buffer]
        return buffer.height, buffer.width

    @cached_property
    def _exact_runs(self) -> list[Callable[[Buffers], None]]:
        """The steps without oneDNN's fused ReLU."""
        return self._build(AtenConv)

    @torch.no_grad()
    def _build(self, kernel: Callable[..., ConvKernel]) -> list[Callable[[Buffers], None]]:
        """The steps as functions of the buffers, with that kernel for convolutions."""
        return [self._build_step(step, kernel) for step in self._plan.steps]

    def _build_step(self, step: Step, kernel: Callable[..., ConvKernel]) -> Callable[[Buffers], None]:
        constants = self._constants
        source, targets = self._plane(step.source), destinations_of(step)
        size = self._plane(targets[0].slice)
        # A ReLU goes into the library's epilogue where all destinations want it.
        relu = all(d.relu for d in targets)
        match step:
            case ConvStep():
                conv = kernel(step.conv, constants, source, size, relu)
                return self._two_operands(step, step.residual, conv, fused_relu=relu)
            case PairStep():
                middle = (step.middle_height, step.middle_width)
                first = kernel(step.first, constants, source, middle, step.first_relu)
                second = kernel(step.second, constants, middle, size, relu)
                return self._two_operands(step, step.residual, lambda x, r: second(first(x, None), r), fused_relu=relu)
            case PoolStep():
                bias = None if step.bias is None else constants[step.bias].to(self._dtype).view(-1, 1, 1)
                return self._one_operand(step, pool_kernel(step, source, size, bias))
            case PointwiseStep():
                typed = {k: constants[k].to(self._dtype) for k in (step.scale, step.shift) if k is not None}
                return self._two_operands(step, step.other, pointwise_kernel(step, typed))
            case ResizeStep():
                return self._one_operand(step, resize_kernel(step, size))
            case NormalizeStep():
                return self._one_operand(step, normalize_kernel(step))

    @property
    def _dtype(self) -> torch.dtype:
        return getattr(torch, self._plan.dtype)

    def _one_operand(self, step: Step, kernel: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Buffers], None]:
        return self._two_operands(step, None, lambda x, _: kernel(x))

    def _two_operands(
        self,
        step: Step,
        second: Slice | None,
        kernel: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor],
        fused_relu: bool = False,
    ) -> Callable[[Buffers], None]:
        """Read, compute, write; what does not depend on the data is decided here, once."""
        read = self._reader(step.source)
        read_second = (lambda _: None) if second is None else self._reader(second)
        write = self._writer(destinations_of(step), fused_relu)
        # A step with nothing to compute returns its operand, and its destination must be memory of its own.
        may_alias = isinstance(step, PointwiseStep)

        def run(buffers: Buffers) -> None:
            source = read(buffers)
            result = kernel(source, read_second(buffers))
            write(buffers, result.clone() if may_alias and result is source else result)

        return run

    def _reader(self, piece: Slice) -> Callable[[Buffers], torch.Tensor]:
        """A slice of the buffers as a tensor."""
        index, start, channels = piece.buffer, piece.start, piece.channels
        if channels == self._plan.buffers[index].channels:
            return itemgetter(index)
        return lambda buffers: buffers[index].narrow(1, start, channels)  # type: ignore[union-attr]

    def _writer(self, targets: tuple[Destination, ...], fused_relu: bool) -> Callable[[Buffers, torch.Tensor], None]:
        """Puts a result where it belongs, with the ReLUs that the kernel has not done."""
        writers = [self._part_writer(d, d.relu and not fused_relu, alone=len(targets) == 1) for d in targets]
        if len(writers) == 1:
            return writers[0]
        ends = list(accumulate(d.slice.channels for d in targets))
        spans = [(end - d.slice.channels, d.slice.channels) for d, end in zip(targets, ends, strict=True)]

        def write(buffers: Buffers, result: torch.Tensor) -> None:
            for part_writer, (start, channels) in zip(writers, spans, strict=True):
                part_writer(buffers, result.narrow(1, start, channels))

        return write

    def _part_writer(self, target: Destination, relu: bool, alone: bool) -> Callable[[Buffers, torch.Tensor], None]:
        index, buffer = target.slice.buffer, self._plan.buffers[target.slice.buffer]

        def become(buffers: Buffers, part: torch.Tensor) -> None:
            if relu:
                part = part.relu_() if alone else part.relu()
            buffers[index] = part.contiguous(memory_format=torch.channels_last)

        def fill(buffers: Buffers, part: torch.Tensor) -> None:
            if buffers[index] is None:
                whole = part.new_empty((len(part), buffer.height, buffer.width, buffer.channels))
                buffers[index] = whole.permute(0, 3, 1, 2)
            if relu:
                torch.clamp_min(part, 0, out=place(buffers))
            else:
                place(buffers).copy_(part)

        place = self._reader(target.slice)
        return become if target.slice.channels == buffer.channels else fill
