"""A merged convolution taken apart again, for libraries that cannot scatter a result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate

import torch

from inception_fast.plan.plan import ConvStep, Slice


def unmerge(step: ConvStep, constants: Mapping[str, torch.Tensor]) -> tuple[list[ConvStep], dict[str, torch.Tensor]]:
    """One convolution for each destination of ``step``, and the rows of its weight and bias that they read."""
    steps: list[ConvStep] = []
    rows: dict[str, torch.Tensor] = {}
    ends = accumulate(d.slice.channels for d in step.destinations)
    for target, end in zip(step.destinations, ends, strict=True):
        channels = target.slice.channels
        start = end - channels
        names = {kind: f"{name}[{start}:{end}]" for kind, name in _parameters(step).items()}
        rows |= {names[kind]: constants[name][start:end] for kind, name in _parameters(step).items()}
        residual = step.residual and Slice(step.residual.buffer, step.residual.start + start, channels)
        conv = replace(step.conv, out_channels=channels, **names)  # type: ignore[arg-type]
        steps.append(replace(step, conv=conv, destinations=(target,), residual=residual))
    return steps, rows


def _parameters(step: ConvStep) -> dict[str, str]:
    """The names of a step's weight and bias, by field."""
    named = {"weight": step.conv.weight, "bias": step.conv.bias}
    return {kind: name for kind, name in named.items() if name is not None}
