"""Runs a Plan on the Triton kernels, launch after launch as :mod:`inception_fast.backends.triton_launches` says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import lru_cache, partial

import torch

from inception_fast.backends.base import Executor, Out, StepTime, deliver
from inception_fast.backends.memory import Memory
from inception_fast.backends.pieces import run_per_image
from inception_fast.backends.shared import Shared, T
from inception_fast.backends.stopwatch import Stopwatch
from inception_fast.backends.triton_ahead import CompileAhead
from inception_fast.backends.triton_launches import (
    GroupLaunch,
    Launch,
    PoolLaunch,
    StepLaunch,
    plan_launches,
    workspace_sizes,
)
from inception_fast.plan.plan import (
    Convolution,
    ConvStep,
    DepthwiseStep,
    GateStep,
    LocalResponseStep,
    NormalizeStep,
    PadStep,
    PairStep,
    Plan,
    PointwiseStep,
    PoolStep,
    ResizeStep,
    SoftmaxStep,
    Step,
    constants_of,
    convolutions_of,
    destinations_of,
    sources_of,
)
from inception_fast.triton_kernels.conv import PackedConv, launch_conv, pack_conv
from inception_fast.triton_kernels.conv_pool import launch_conv_pool
from inception_fast.triton_kernels.depthwise import PackedDepthwise, launch_depthwise, pack_depthwise
from inception_fast.triton_kernels.functions import IDENTITY, RELU, Function
from inception_fast.triton_kernels.gate import launch_gate
from inception_fast.triton_kernels.group import PackedGroup, launch_group, pack_group
from inception_fast.triton_kernels.local_response import launch_local_response
from inception_fast.triton_kernels.normalize import launch_normalize
from inception_fast.triton_kernels.numerics import is_interpreted
from inception_fast.triton_kernels.pad import launch_pad
from inception_fast.triton_kernels.pair import is_vertical, launch_pair
from inception_fast.triton_kernels.pointwise import launch_pointwise
from inception_fast.triton_kernels.pool import launch_pool
from inception_fast.triton_kernels.pool_conv import launch_pool_conv
from inception_fast.triton_kernels.resize import launch_resize
from inception_fast.triton_kernels.softmax import launch_softmax
from inception_fast.triton_kernels.split import Workspace
from inception_fast.tuning.choice import ConfigChoice
from inception_fast.tuning.group import groups_of
from inception_fast.tuning.pooling import BAND
from inception_fast.tuning.problem import ConvConfig

DIRECT_INPUT_CHANNELS = 4
"""A first convolution over at most that many channels reads the caller's tensor as it is, in any layout."""

MAX_BATCH_SIZES = 64
"""Batch sizes whose launches are remembered; others are planned anew."""

_INTERPRETER = threading.Lock()
"""Triton's interpreter keeps its program id in a global and patches Triton's language while it runs."""


class TritonExecutor(Executor):
    """Memory comes from PyTorch's allocator and is a call's own, so calls may overlap.

    Args:
        constants: canonical; packed for ``device``.
        batch_invariant: see :class:`inception_fast.tuning.choice.ConfigChoice`.
        choose: by default the device's.
        shared: with executors for other image sizes.
    """

    def __init__(
        self,
        plan: Plan,
        constants: Mapping[str, torch.Tensor],
        device: torch.device,
        precision: str = "fp32",
        batch_invariant: bool = False,
        choose: ConfigChoice | None = None,
        shared: Shared | None = None,
    ) -> None:
        self._plan, self._device, self._tf32 = plan, device, precision == "tf32"
        choose = choose or ConfigChoice.of(device, batch_invariant)
        by_batch = lru_cache(MAX_BATCH_SIZES)
        self._launches = by_batch(lambda images: plan_launches(plan, precision, images, choose))
        self._workspace_sizes = by_batch(
            lambda images: workspace_sizes(plan, precision, images, self._launches(images))
        )
        # A matrix instruction sums every row of a tile alike; the numpy product of the interpreter does not.
        self._per_image = batch_invariant and is_interpreted()
        with torch.no_grad():
            self._pack(constants, shared or Shared())
        self._ahead = by_batch(lambda images: None)
        if device.type == "cuda":
            self._ahead = by_batch(CompileAhead(plan, precision, batch_invariant, device))
        self._copies_input = any(self._wants_even_pixels(step) for step in plan.steps)

    def _pack(self, constants: Mapping[str, torch.Tensor], shared: Shared) -> None:
        """Puts all constants on the device, convolutions by their step's index and the others, float32, by name."""
        plan, device = self._plan, self._device

        def packed_like(conv: Convolution) -> Convolution:
            # Of no use here, and other at other sizes.
            return replace(conv, sensitivity=None)

        def used(conv: Convolution) -> list[torch.Tensor]:
            return [constants[name] for name in (conv.weight, conv.bias) if name is not None]

        def pack(conv: Convolution) -> PackedConv:
            return shared.of(used(conv), (packed_like(conv), device), lambda: pack_conv(conv, constants, device))

        def for_these(steps: list[ConvStep]) -> Callable[[Callable[[], T]], T]:
            convs = [step.conv for step in steps]
            key = (*map(packed_like, convs), device)
            return partial(shared.of, [t for conv in convs for t in used(conv)], key)

        def convert(vector: torch.Tensor) -> torch.Tensor:
            return shared.of([vector], device, lambda: vector.to(device, torch.float32))

        self._groups: dict[tuple[int, ...], PackedGroup] = {}
        self._convs: dict[int, tuple[PackedConv, ...]] = {}
        self._depthwise: dict[int, PackedDepthwise] = {}
        self._vectors: dict[str, torch.Tensor] = {}
        for members in groups_of(plan):
            steps = [step for i in members if isinstance(step := plan.steps[i], ConvStep)]
            group = self._groups[members] = pack_group(steps, plan.buffers, constants, device, for_these(steps))
            self._convs |= {i: (packed,) for i, packed in zip(members, group.convs, strict=True)}
        for index, step in enumerate(plan.steps):
            convs = convolutions_of(step)
            if convs and index not in self._convs:
                self._convs[index] = tuple(pack(conv) for conv in convs)
            weights = {name for conv in convs for name in (conv.weight, conv.bias)}
            self._vectors |= {name: convert(constants[name]) for name in constants_of(step) if name not in weights}
            if isinstance(step, DepthwiseStep):
                self._depthwise[index] = pack_depthwise(step, self._vectors[step.weight], self._vector(step.bias))

    @property
    def packed(self) -> Mapping[Hashable, int]:
        packed = [conv for convs in self._convs.values() for conv in convs]
        tensors = [t for conv in packed for t in (conv.weight, conv.bias, conv.taps) if t is not None]
        return {t.data_ptr(): t.nbytes for t in (*tensors, *self._vectors.values())}

    def launches(self, images: int) -> list[list[str]]:
        """The names of the steps of each launch, for a batch of that size."""
        names = self._plan.step_names
        return [[names[i] for i in launch.steps] for launch in self._launches(images)]

    def run(self, x: torch.Tensor, out: Out | None = None) -> list[torch.Tensor]:
        if self._per_image:
            return deliver(self._plan, run_per_image(self._pass, x), out)
        return self._pass(x, out=out)

    def profile(self, x: torch.Tensor) -> list[StepTime]:
        """The time of a launch is its first step's, whose ``algorithm`` names the others."""
        watch, others = Stopwatch(self._device), [names[1:] for names in self.launches(len(x))]
        self._pass(x, watch)
        return [
            replace(time, algorithm=f"with {', '.join(rest)}") if rest else time
            for time, rest in zip(watch.times(), others, strict=True)
        ]

    def _pass(self, x: torch.Tensor, watch: Stopwatch | None = None, out: Out | None = None) -> list[torch.Tensor]:
        with torch.no_grad(), self._running():
            if self._copies_input:
                # The views give dimensions of size 1 the strides that they would have if they were larger.
                nhwc = x.permute(0, 2, 3, 1).contiguous()
                x = nhwc.view(-1).view(nhwc.shape).permute(0, 3, 1, 2)
            memory = Memory(self._plan, x, out=out)
            self._ahead(memory.images)
            workspace = Workspace.of(self._workspace_sizes(memory.images), x.device)
            for launch in self._launches(memory.images):
                self._launch(launch, memory, workspace)
                if watch is not None:
                    watch.lap(self._plan.step_names[launch.steps[0]])
            return memory.outputs()

    def _running(self) -> AbstractContextManager[object]:
        return _INTERPRETER if self._device.type == "cpu" else torch.cuda.device(self._device)

    def _wants_even_pixels(self, step: Step) -> bool:
        """Whether a step reads the input as evenly spaced pixels of contiguous channels."""
        readers = [piece for piece in sources_of(step) if piece.buffer == self._plan.input]
        few = step.source.channels <= DIRECT_INPUT_CHANNELS
        direct = isinstance(step, PadStep) or (isinstance(step, ConvStep) and few)
        return bool(readers) and not (direct and readers == [step.source])

    def _launch(self, launch: Launch, memory: Memory, workspace: Workspace) -> None:
        match launch:
            case GroupLaunch(steps, config):
                launch_group(self._groups[steps], config, memory.arena, memory.images, self._tf32, workspace)
            case StepLaunch(index, configs):
                self._launch_step(index, configs, memory, workspace)
            case PoolLaunch((first, second), config, moved):
                for buffer in moved:
                    memory.move(buffer)
                self._launch_pool(first, second, config, memory)

    def _launch_step(self, index: int, configs: tuple[ConvConfig, ...], memory: Memory, workspace: Workspace) -> None:
        step = self._plan.steps[index]
        source, targets = memory[step.source], [memory[d.slice] for d in destinations_of(step)]
        functions, relu = self._functions(step), destinations_of(step)[0].relu
        match step:
            case ConvStep():
                (packed,), (config,) = self._convs[index], configs
                residual = None if step.residual is None else memory[step.residual]
                launch_conv(packed, config, source, targets, functions, residual, self._tf32, workspace)
            case PairStep():
                self._launch_pair(step, self._convs[index], configs, memory, workspace)
            case DepthwiseStep():
                launch_depthwise(self._depthwise[index], source, targets[0], functions[0])
            case PoolStep():
                launch_pool(step, source, targets[0], self._vector(step.bias))
            case PointwiseStep():
                other = None if step.other is None else memory[step.other]
                scale, shift = self._vector(step.scale), self._vector(step.shift)
                launch_pointwise(source, targets[0], functions[0], scale, shift, other)
            case PadStep():
                scale, shift = self._vector(step.scale), self._vector(step.shift)
                launch_pad(source, targets[0], step.padding, step.value, scale, shift, relu)
            case ResizeStep():
                launch_resize(source, targets[0], step.align_corners, relu)
            case NormalizeStep():
                launch_normalize(source, targets[0], step.eps, relu)
            case SoftmaxStep():
                launch_softmax(source, targets[0], step.log, relu)
            case LocalResponseStep():
                launch_local_response(step, source, targets[0])
            case GateStep():
                launch_gate(source, memory[step.gate], targets[0], relu)

    def _functions(self, step: Step) -> list[Function]:
        """Of its destinations."""
        return [Function.of(d, self._vectors) for d in destinations_of(step)]

    def _launch_pool(self, first: int, second: int, config: ConvConfig, memory: Memory) -> None:
        """A convolution and a max pool, either first."""
        before, after = self._plan.steps[first], self._plan.steps[second]
        source, targets = memory[before.source], [memory[d.slice] for d in destinations_of(after)]
        if isinstance(after, ConvStep):
            assert isinstance(before, PoolStep)
            (packed,) = self._convs[second]
            launch_pool_conv(before, packed, config, source, targets, self._functions(after), self._tf32)
            return
        assert isinstance(before, ConvStep) and isinstance(after, PoolStep)
        (packed,), pooled = self._convs[first], self._plan.buffers[after.source.buffer]
        # What the interpreter pays for is programs.
        band = len(targets[0][0]) if is_interpreted() else BAND
        activation = after.destination.relu or before.destinations[0].relu
        plane = (pooled.height, pooled.width)
        launch_conv_pool(packed, after, config, band, plane, source, targets[0], activation, self._tf32)

    def _vector(self, name: str | None) -> torch.Tensor | None:
        return None if name is None else self._vectors[name]

    def _launch_pair(
        self,
        step: PairStep,
        packed: tuple[PackedConv, ...],
        configs: tuple[ConvConfig, ...],
        memory: Memory,
        workspace: Workspace,
    ) -> None:
        """In one kernel, or in two where that kernel cannot."""
        first, second = packed
        source, residual = memory[step.source], None if step.residual is None else memory[step.residual]
        targets, functions = [memory[d.slice] for d in step.destinations], self._functions(step)
        middle = (step.middle_height, step.middle_width)
        if is_vertical(step.first, step.second) is not None:
            launch_pair(first, second, step.first_relu, middle, source, targets, functions, residual, self._tf32)
            return
        between = source.new_empty(memory.images, *middle, step.first.out_channels)
        launch_conv(
            first, configs[0], source, [between], [RELU if step.first_relu else IDENTITY], None, self._tf32, workspace
        )
        launch_conv(second, configs[1], between, targets, functions, residual, self._tf32, workspace)
