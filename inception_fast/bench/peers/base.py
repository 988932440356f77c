"""What a peer gets, and what it gives back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "int8": torch.float32,
}
"""Of the tensors that go in and come out."""


class PeerUnavailableError(Exception):
    """A peer cannot take part; the message is the reason, for the table."""


@dataclass(frozen=True)
class Task:
    """The forward pass that every contestant does.

    Attributes:
        model: float32, eval mode, on the CPU; nobody changes it.
        images: ``[N, C, H, W]`` float32 on the CPU.
        precision: ``fp32``, ``tf32``, ``fp16``, ``bf16`` or ``int8``.
        device: where to run.
        threads: that a library may use inside an operator, on a CPU.
        calibration: what ``int8`` is calibrated on, as ``images``; None for the images themselves.
    """

    model: nn.Module
    images: torch.Tensor
    precision: str
    device: torch.device
    threads: int
    calibration: torch.Tensor | None = None

    def examples(self) -> torch.Tensor:
        """What to prepare a network with: the images to calibrate it on for ``int8``, else one image."""
        if self.precision != "int8":
            return self.images[:1]
        return self.images if self.calibration is None else self.calibration

    def module(self, memory_format: torch.memory_format = torch.contiguous_format) -> nn.Module:
        """A copy of the model on the device, in the precision's dtype."""
        typed = copy.deepcopy(self.model).to(self.device, DTYPES[self.precision])
        return typed.to(memory_format=memory_format)

    def input(self, memory_format: torch.memory_format = torch.contiguous_format) -> torch.Tensor:
        """A copy of the images on the device, in the precision's dtype."""
        return self.images.to(self.device, DTYPES[self.precision]).contiguous(memory_format=memory_format)


def refuse_int8(task: Task) -> None:
    """For the peers that quantise nothing."""
    if task.precision == "int8":
        raise PeerUnavailableError("does not quantise networks")


@dataclass(frozen=True)
class Contestant:
    """A peer made ready.

    Attributes:
        name: as the table has it.
        run: one forward pass; what it returns holds the outputs.
        note: the settings that matter, for the report.
        record: on a GPU, makes what replays the pass without the host's part: a CUDA graph, most often. What it makes
            is called many times in a row.
        unrecorded: why there is nothing to replay on a GPU.
    """

    name: str
    run: Callable[[], object]
    note: str
    record: Callable[[], Callable[[], object]] | None = None
    unrecorded: str = ""


def first_line(error: Exception) -> str:
    """An exception as one line of a table."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
