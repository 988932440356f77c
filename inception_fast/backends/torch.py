"""``torch``: the Plan on PyTorch's own best kernels: oneDNN on CPUs, cuDNN under a CUDA graph on GPUs.

The libraries allocate their results, so a step that fills a whole buffer becomes that buffer, and one that fills a
slice of a concat is written there by its epilogue's last pass (a ReLU, where one is left to do, else a copy).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from inception_fast.backends.base import Availability, Backend, Executor, Lowering, StepTime
from inception_fast.backends.cuda_graph import CudaGraphs
from inception_fast.backends.per_image import run_per_image
from inception_fast.backends.stopwatch import Stopwatch
from inception_fast.backends.torch_kernels import (
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
        self._conv = conv_class(device, getattr(torch, plan.dtype))
        constants = {k: v.to(device) for k, v in constants.items()}
        with torch.no_grad():
            self._runs = [self._build(step, constants) for step in plan.steps]
        lives = lifetimes(plan.steps, plan.stages)
        ends: list[list[int]] = [[] for _ in plan.steps]
        for index, life in lives.items():
            if plan.buffers[index].home == "arena":
                ends[plan.stages[life.last][-1]].append(index)
        self._ends = ends

    def run(self, x: torch.Tensor) -> list[torch.Tensor]:
        with torch.no_grad(), torch.backends.cudnn.flags(allow_tf32=self._allow_tf32):
            if self._batch_invariant:
                return run_per_image(self._pass, x)
            return self._pass(x)

    def profile(self, x: torch.Tensor) -> list[StepTime]:
        with torch.no_grad(), torch.backends.cudnn.flags(allow_tf32=self._allow_tf32):
            watch = Stopwatch(x.device)
            self._pass(x, done=watch.lap)
            return watch.times()

    def _pass(self, x: torch.Tensor, done: Callable[[str], None] | None = None) -> list[torch.Tensor]:
        buffers: Buffers = [None] * len(self._plan.buffers)
        buffers[self._plan.input] = x.contiguous(memory_format=torch.channels_last)
        for name, run, ends in zip(self._plan.step_names, self._runs, self._ends, strict=True):
            run(buffers)
            if done is not None:
                done(name)
            for index in ends:
                buffers[index] = None
        return [buffers[o.buffer] for o in self._plan.outputs]  # type: ignore[misc]

    def _plane(self, piece: Slice) -> tuple[int, int]:
        buffer = self._plan.buffers[piece.buffer]
        return buffer.height, buffer.width

    def _build(self, step: Step, constants: Mapping[str, torch.Tensor]) -> Callable[[Buffers], None]:
        """The step as a function of the buffers."""
        source, targets = self._plane(step.source), destinations_of(step)
        size = self._plane(targets[0].slice)
        # A ReLU goes into the library's epilogue where all destinations want it.
        relu = all(d.relu for d in targets)
        match step:
            case ConvStep():
                conv = self._conv(step.conv, constants, source, size, relu)
                return self._two_operands(step, step.residual, conv, fused_relu=relu)
            case PairStep():
                middle = (step.middle_height, step.middle_width)
                first = self._conv(step.first, constants, source, middle, step.first_relu)
                second = self._conv(step.second, constants, middle, size, relu)
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
        def run(buffers: Buffers) -> None:
            source = self._read(buffers, step.source)
            result = kernel(source, None if second is None else self._read(buffers, second))
            # A kernel with nothing to compute returns its operand; its destination must be memory of its own.
            result = result.clone() if result is source else result
            self._store(buffers, destinations_of(step), result, fused_relu)

        return run

    def _read(self, buffers: Buffers, piece: Slice) -> torch.Tensor:
        whole = buffers[piece.buffer]
        assert whole is not None
        return whole if piece.channels == whole.shape[1] else whole.narrow(1, piece.start, piece.channels)

    def _store(
        self, buffers: Buffers, targets: tuple[Destination, ...], result: torch.Tensor, fused_relu: bool
    ) -> None:
        start = 0
        for d in targets:
            part = result if len(targets) == 1 else result.narrow(1, start, d.slice.channels)
            start += d.slice.channels
            relu = d.relu and not fused_relu
            buffer = self._plan.buffers[d.slice.buffer]
            if d.slice.channels == buffer.channels:
                if relu:
                    part = part.relu_() if len(targets) == 1 else part.relu()
                buffers[d.slice.buffer] = part.contiguous(memory_format=torch.channels_last)
                continue
            if buffers[d.slice.buffer] is None:
                shape = (len(result), buffer.channels, buffer.height, buffer.width)
                buffers[d.slice.buffer] = torch.empty(
                    shape, dtype=result.dtype, device=result.device, memory_format=torch.channels_last
                )
            place = self._read(buffers, d.slice)
            if relu:
                torch.clamp_min(part, 0, out=place)
            else:
                place.copy_(part)
