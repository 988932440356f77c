"""A float32 Plan and its calibration -> a ``uint8`` Plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from inception_fast.errors import PlanError
from inception_fast.lowering.lower import describe
from inception_fast.plan.check import MAX_QUANTIZED_BIAS
from inception_fast.plan.memory import layout, lifetimes
from inception_fast.plan.plan import (
    QUANTIZED,
    Buffer,
    Convolution,
    ConvStep,
    Destination,
    PairStep,
    Plan,
    PointwiseStep,
    Slice,
    Step,
    constants_of,
    sources_of,
)
from inception_fast.plan.schedule import schedule
from inception_fast.plan.winograd import AXES
from inception_fast.quantization.calibration import Calibration
from inception_fast.quantization.winograd import best_winograd_taps, mean_points, transformed

MOST = 127
"""Largest weight; -128 is not used, so that negation changes nothing."""
BIAS_LIMIT = MAX_QUANTIZED_BIAS // 2
"""Largest bias that weights are scaled for, in units of a sum; what makes up for their rounding has the other half."""


def quantize(
    plan: Plan, constants: Mapping[str, torch.Tensor], calibration: Calibration
) -> tuple[Plan, dict[str, torch.Tensor]]:
    """The quantised Plan, and its constants.

    Weights get one scale an output channel. What rounding them adds to an output on average, over the images of the
    calibration, is taken off its bias (M. Nagel et al., arXiv:1906.04721, section 4.2).

    Raises:
        PlanError: the Plan is not float32, has pairs, or a sum too long for 32 bits.
    """
    if plan.dtype != "float32":
        raise PlanError(f"only float32 Plans are quantised, got {plan.dtype}")
    maker = _Maker(plan, constants, calibration)
    made = [maker.step(step) for step in plan.steps] + maker.returned()
    steps, stages = schedule(made)
    sizes = {i: b.size for i, b in enumerate(maker.buffers) if b.home == "arena"}
    offsets, arena = layout(sizes, lifetimes(steps, stages))
    buffers = tuple(replace(b, offset=offsets.get(i, 0)) for i, b in enumerate(maker.buffers))
    outputs = tuple(replace(o, buffer=maker.copies.get(o.buffer, o.buffer)) for o in plan.outputs)
    return Plan(QUANTIZED, buffers, steps, stages, describe(maker.made), outputs, arena), maker.made


@dataclass
class _Maker:
    """
    Attributes:
        made: the new constants.
        copies: the output buffer that takes the place of one which steps read, by its index.
    """

    plan: Plan
    constants: Mapping[str, torch.Tensor]
    calibration: Calibration
    made: dict[str, torch.Tensor] = field(default_factory=dict)
    copies: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        read = {piece.buffer for step in self.plan.steps for piece in sources_of(step)}
        self.buffers: list[Buffer] = []
        for index, buffer in enumerate(self.plan.buffers):
            # Outputs are float32: one that steps read besides is quantised first, and copied out at the end.
            home: Any = "arena" if buffer.home == "output" and index in read else buffer.home
            scale, zero = (None, 0) if home == "output" else self.calibration.ranges[index]
            self.buffers.append(replace(buffer, home=home, scale=scale, zero=zero))
        for index, buffer in enumerate(self.plan.buffers):
            if buffer.home == "output" and index in read:
                self.copies[index] = len(self.buffers)
                self.buffers.append(replace(buffer, name=f"{buffer.name}.output"))

    def returned(self) -> list[Step]:
        """The copies of the outputs that steps read."""
        made: list[Step] = []
        for index, copy in self.copies.items():
            whole = Slice(index, 0, self.buffers[index].channels)
            made.append(PointwiseStep(self.buffers[copy].name, whole, Destination(replace(whole, buffer=copy), False)))
        return made

    def step(self, step: Step) -> Step:
        match step:
            case ConvStep():
                return replace(step, conv=self.convolution(step))
            case PairStep():
                raise PlanError(f"step {step.name}: a pair, whose intermediate has no scale")
            case _:
                self.made |= {name: self.constants[name] for name in constants_of(step)}
                return step

    def convolution(self, step: ConvStep) -> Convolution:
        conv, (unit, _) = step.conv, self.calibration.ranges[step.source.buffer]
        weight, means = self.constants[conv.weight].double(), self.calibration.means[conv.weight]
        bias = weight.new_zeros(conv.out_channels) if conv.bias is None else self.constants[conv.bias].double()
        target = self.plan.buffers[step.destinations[0].slice.buffer]
        taps = best_winograd_taps(conv, (target.height, target.width))
        if taps is not None:
            weight, means = transformed(weight, taps), mean_points(means, taps)
        scale = weight_scale(weight, bias / unit)
        elements = (weight / scale.view(-1, 1, 1)).round()
        rounding = elements * scale.view(-1, 1, 1) - weight
        bias = bias - (rounding * means).sum(dim=(1, 2))
        self.made[conv.weight] = elements.to(torch.int8)
        names = f"{conv.weight}.quantized_bias", f"{conv.weight}.scale"
        sums = (bias / (unit * scale)).round().clamp(-MAX_QUANTIZED_BIAS, MAX_QUANTIZED_BIAS)
        self.made[names[0]] = sums.to(torch.int32)
        self.made[names[1]] = scale.float()
        axis = None if taps is None else AXES[taps.axis]
        return replace(conv, bias=names[0], scale=names[1], winograd=axis)


def weight_scale(weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """What a weight of 1 stands for, by output channel, as float32 holds it.

    Args:
        weight: ``[C_out, T, C_in]``.
        bias: in units of the source's scale; beside tiny weights a large one would overflow the sum.
    """
    largest = torch.maximum(weight.abs().amax(dim=(1, 2)) / MOST, bias.abs() / BIAS_LIMIT)
    return largest.clamp_min(1e-30).float().double()
