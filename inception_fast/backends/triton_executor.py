"""Runs a Plan on the Triton kernels, one launch a step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import torch

from inception_fast.backends.base import Executor
from inception_fast.backends.memory import Memory
from inception_fast.backends.pieces import run_per_image
from inception_fast.plan.plan import (
    Convolution,
    ConvStep,
    NormalizeStep,
    PairStep,
    Plan,
    PointwiseStep,
    PoolStep,
    ResizeStep,
    Step,
    destinations_of,
    sources_of,
)
from inception_fast.triton_kernels.conv import launch_conv, pack_conv
from inception_fast.triton_kernels.normalize import launch_normalize
from inception_fast.triton_kernels.pair import is_vertical, launch_pair
from inception_fast.triton_kernels.pointwise import launch_pointwise
from inception_fast.triton_kernels.pool import launch_pool
from inception_fast.triton_kernels.resize import launch_resize
from inception_fast.tuning.choice import ConfigChoice
from inception_fast.tuning.problem import ConvConfig, ConvProblem

Run = Callable[[Memory], None]

DIRECT_INPUT_CHANNELS = 4
"""A first convolution over at most that many channels reads the caller's tensor as it is, in any layout."""

_INTERPRETER = threading.Lock()
"""Triton's interpreter keeps its program id in a global and patches Triton's language while it runs."""


class TritonExecutor(Executor):
    """Memory comes from PyTorch's allocator and is a call's own, so calls may overlap.

    Args:
        constants: canonical; packed for ``device``.
        batch_invariant: see :class:`inception_fast.tuning.choice.ConfigChoice`.
    """

    def __init__(
        self,
        plan: Plan,
        constants: Mapping[str, torch.Tensor],
        device: torch.device,
        precision: str = "fp32",
        batch_invariant: bool = False,
    ) -> None:
        self._plan, self._device, self._precision = plan, device, precision
        self._choose = ConfigChoice(device, batch_invariant)
        # A matrix instruction sums every row of a tile alike; the numpy product of the interpreter does not.
        self._per_image = batch_invariant and device.type == "cpu"
        with torch.no_grad():
            self._runs = [self._build(step, constants) for step in plan.steps]
        self._copies_input = any(self._wants_even_pixels(step) for step in plan.steps)

    def run(self, x: torch.Tensor) -> list[torch.Tensor]:
        return run_per_image(self._pass, x) if self._per_image else self._pass(x)

    def _pass(self, x: torch.Tensor) -> list[torch.Tensor]:
        with torch.no_grad(), self._running():
            if self._copies_input:
                # The views give dimensions of size 1 the strides that they would have if they were larger.
                nhwc = x.permute(0, 2, 3, 1).contiguous()
                x = nhwc.view(-1).view(nhwc.shape).permute(0, 3, 1, 2)
            memory = Memory(self._plan, x)
            for run in self._runs:
                run(memory)
            return memory.outputs()

    def _running(self) -> AbstractContextManager[object]:
        return _INTERPRETER if self._device.type == "cpu" else torch.cuda.device(self._device)

    def _wants_even_pixels(self, step: Step) -> bool:
        """Whether a step reads the input as evenly spaced pixels of contiguous channels."""
        readers = [piece for piece in sources_of(step) if piece.buffer == self._plan.input]
        direct = isinstance(step, ConvStep) and step.source.channels <= DIRECT_INPUT_CHANNELS
        return bool(readers) and not (direct and readers == [step.source])

    def _build(self, step: Step, constants: Mapping[str, torch.Tensor]) -> Run:
        """The step as a function of the buffers; its constants are packed here."""

        def vector(name: str | None) -> torch.Tensor | None:
            return None if name is None else constants[name].to(self._device, torch.float32)

        source, target = step.source, destinations_of(step)[0]
        place, relu = target.slice, target.relu
        match step:
            case ConvStep():
                return self._build_conv(step, constants)
            case PairStep():
                return self._build_pair(step, constants)
            case PoolStep():
                bias = vector(step.bias)
                return lambda memory: launch_pool(step, memory[source], memory[place], bias)
            case PointwiseStep():
                scale, shift, other = vector(step.scale), vector(step.shift), step.other

                def run_pointwise(memory: Memory) -> None:
                    second = None if other is None else memory[other]
                    launch_pointwise(memory[source], memory[place], relu, scale, shift, second)

                return run_pointwise
            case ResizeStep():
                return lambda memory: launch_resize(memory[source], memory[place], step.align_corners, relu)
            case NormalizeStep():
                return lambda memory: launch_normalize(memory[source], memory[place], step.eps, relu)

    def _build_conv(self, step: ConvStep, constants: Mapping[str, torch.Tensor]) -> Run:
        packed = pack_conv(step.conv, constants, self._device)
        relus = [d.relu for d in step.destinations]
        configs = self._configs(step.conv, self._plane(step)[0] * self._plane(step)[1])

        def run(memory: Memory) -> None:
            source, residual = memory[step.source], None if step.residual is None else memory[step.residual]
            targets = [memory[d.slice] for d in step.destinations]
            launch_conv(packed, configs(len(source)), source, targets, relus, residual, self._precision == "tf32")

        return run

    def _build_pair(self, step: PairStep, constants: Mapping[str, torch.Tensor]) -> Run:
        first, second = (pack_conv(conv, constants, self._device) for conv in (step.first, step.second))
        relus, tf32 = [d.relu for d in step.destinations], self._precision == "tf32"
        middle, plane = (step.middle_height, step.middle_width), self._plane(step)
        fused = is_vertical(step.first, step.second) is not None
        first_config = self._configs(step.first, middle[0] * middle[1])
        second_config = self._configs(step.second, plane[0] * plane[1])

        def run(memory: Memory) -> None:
            source, residual = memory[step.source], None if step.residual is None else memory[step.residual]
            targets = [memory[d.slice] for d in step.destinations]
            if fused:
                launch_pair(first, second, step.first_relu, middle, source, targets, relus, residual, tf32)
                return
            between = source.new_empty(len(source), *middle, step.first.out_channels)
            launch_conv(first, first_config(len(source)), source, [between], [step.first_relu], None, tf32)
            launch_conv(second, second_config(len(source)), between, targets, relus, residual, tf32)

        return run

    def _plane(self, step: Step) -> tuple[int, int]:
        """Height and width of what a step writes."""
        buffer = self._plan.buffers[destinations_of(step)[0].slice.buffer]
        return buffer.height, buffer.width

    def _configs(self, conv: Convolution, out_pixels: int) -> Callable[[int], ConvConfig]:
        """A convolution's configuration by batch size, chosen once for each."""
        chosen: dict[int, ConvConfig] = {}

        def config(images: int) -> ConvConfig:
            if images not in chosen:
                problem = ConvProblem.of(conv, out_pixels, images, self._plan.dtype, self._precision)
                chosen[images] = self._choose(problem)
            return chosen[images]

        return config
