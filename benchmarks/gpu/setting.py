"""How large everything is: on a GPU, and in the dry run on a CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DRIVERS = ("stage", "pair", "network")
"""Of the ``cuda`` backend."""


@dataclass(frozen=True)
class Setting:
    """Sizes of a visit.

    Attributes:
        device: of all tensors.
        model: as ``inception-fast bench`` takes it.
        size: side of its images in pixels; None for the model's own.
        precisions: that are checked; the first is timed too.
        batches: that are timed, those that say most first.
        checked_batches: that are compared with float64.
        distinct: images that differ; larger batches repeat them.
        rounds: samples of a contestant, at most.
        seconds: of the calls of a contest, and of its replays, at most.
        processes: that compile Triton kernels or run tests side by side.
        environment: variables for all processes.
    """

    name: str
    device: str
    model: str
    size: int | None
    precisions: tuple[str, ...]
    batches: tuple[int, ...]
    checked_batches: tuple[int, ...]
    distinct: int
    rounds: int
    seconds: float
    processes: int
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def on_gpu(self) -> bool:
        return self.device == "cuda"


GPU = Setting(
    name="gpu",
    device="cuda",
    model="inception_v3",
    size=None,
    precisions=("fp16", "fp32"),
    batches=(1, 128, 8, 32),
    checked_batches=(1, 8, 128),
    distinct=8,
    rounds=100,
    seconds=2.5,
    processes=14,
)

DRY = Setting(
    name="dry",
    device="cpu",
    model="benchmarks.gpu.toy:two_blocks",
    size=19,
    precisions=("fp16", "fp32"),
    batches=(1, 2),
    checked_batches=(1, 2),
    distinct=2,
    rounds=1,
    seconds=1.0,
    processes=1,
    environment={
        "INCEPTION_FAST_EMULATE": "1",
        "TRITON_INTERPRET": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    },
)
"""Says that the way is free, and nothing of speed."""

SETTINGS = {setting.name: setting for setting in (GPU, DRY)}
