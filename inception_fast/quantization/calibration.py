"""What a network's activations look like over representative images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from inception_fast.backends.base import Out
from inception_fast.backends.memory import Memory
from inception_fast.backends.reference import ReferenceExecutor
from inception_fast.errors import InputError
from inception_fast.plan.check import SCALES
from inception_fast.plan.plan import Convolution, ConvStep, Plan, Step, destinations_of, sources_of

LEVELS = 255
"""Steps between the smallest and the largest element."""
SAMPLES = 1 << 18
"""Values of a buffer that are kept: the error of a scale is an average over them, however many images there are."""
OUTERMOST = 8
"""Extremes that count besides, at either end."""
GROUP = 4
"""Images in memory at a time."""
SHARES = tuple(1 - 0.04 * i for i in range(16))
"""Of the whole range, from which the scale is chosen."""


@dataclass(frozen=True)
class Calibration:
    """What quantising a Plan needs to know.

    Attributes:
        ranges: of each buffer that holds elements, by index: its scale and its zero.
        means: of each convolution, by the name of its weight: the average input ``[taps, C_in]`` float64, the zeros of
            the padding included.
        images: how many were looked at.
    """

    ranges: dict[int, tuple[float, int]]
    means: dict[str, torch.Tensor]
    images: int


def calibrate(plan: Plan, constants: Mapping[str, torch.Tensor], images: torch.Tensor) -> Calibration:
    """Runs a float32 Plan over ``images`` ``[N, C, H, W]`` and looks at every value on the way.

    A buffer's scale is the one among SHARES of its range that loses least: a smaller one rounds finer and clips more
    (the criterion of the smallest mean square error, R. Krishnamoorthi, arXiv:1806.08342, and M. Nagel et al.,
    arXiv:2106.08295).

    Raises:
        InputError: the network makes infinities or NaN of the images.
    """
    observer = _Observer(plan, constants)
    groups = images.float().cpu().split(GROUP)
    for group in groups:
        observer.run(group)
    return observer.result(len(images))


class Samples:
    """A share of the values that a buffer has had; it takes no more memory for more of them.

    Attributes:
        kept: one in so many of them in the order in which they came, float32; at most SAMPLES.
        extremes: the outermost of what was added each time, in order; at most OUTERMOST at either end.
    """

    def __init__(self) -> None:
        self.kept = self.extremes = torch.empty(0, dtype=torch.float32, device="cpu")
        self._every, self._passed = 1, 0

    def add(self, values: torch.Tensor) -> None:
        """More values, of any shape.

        Raises:
            ValueError: one is not finite.
        """
        flat = values.reshape(-1)
        extremes = torch.stack(flat.aminmax())
        if not extremes.isfinite().all():
            raise ValueError("values that are not finite")
        ordered = torch.cat([self.extremes, extremes]).sort().values
        self.extremes = torch.cat([ordered[:OUTERMOST], ordered[OUTERMOST:][-OUTERMOST:]])
        self.kept = torch.cat([self.kept, flat[-self._passed % self._every :: self._every]])
        self._passed += len(flat)
        while len(self.kept) > SAMPLES:
            # By three, since an odd distance meets every channel and column; a copy, lest the whole stay alive.
            self.kept, self._every = self.kept[::3].clone(), 3 * self._every

    def best_range(self) -> tuple[float, int]:
        """The scale and the zero that lose least."""
        # The share alone may have missed the few values that a small range would clip.
        values = torch.cat([self.kept, self.extremes])
        least, most = min(self.extremes[0].item(), 0.0), max(self.extremes[-1].item(), 0.0)
        candidates = (_scale_and_zero(least * share, most * share) for share in SHARES)
        return min(candidates, key=lambda c: _loss(values, *c))


class _Observer(ReferenceExecutor):
    def __init__(self, plan: Plan, constants: Mapping[str, torch.Tensor]) -> None:
        super().__init__(plan, constants, torch.device("cpu"))
        self._samples: dict[int, Samples] = defaultdict(Samples)
        self._totals: dict[str, torch.Tensor] = {}
        self._seen = 0

    def run(self, x: torch.Tensor, out: Out | None = None) -> list[torch.Tensor]:
        self._sample(self._plan.input, x)
        self._seen += len(x)
        return super().run(x, out)

    def _run_step(self, step: Step, memory: Memory) -> None:
        if isinstance(step, ConvStep):
            target = self._plan.buffers[step.destinations[0].slice.buffer]
            means = tap_means(memory.nchw(step.source), step.conv, (target.height, target.width))
            total = self._totals.setdefault(step.conv.weight, torch.zeros_like(means))
            total += means * len(memory[step.source])
        super()._run_step(step, memory)
        for d in destinations_of(step):
            self._sample(d.slice.buffer, memory.nchw(d.slice))

    def _sample(self, buffer: int, values: torch.Tensor) -> None:
        try:
            self._samples[buffer].add(values)
        except ValueError as error:
            got = f"{error} in {self._plan.buffers[buffer].name}"
            raise InputError("model", got, "finite activations to calibrate int8 on") from error

    def result(self, images: int) -> Calibration:
        ranges = {buffer: samples.best_range() for buffer, samples in self._samples.items()}
        if self._plan.buffers[self._plan.input].dtype is not None:
            ranges[self._plan.input] = (1.0, 0)
        for step in self._plan.steps:
            self._share(step, ranges)
        return Calibration(ranges, {name: total / self._seen for name, total in self._totals.items()}, images)

    def _share(self, step: Step, ranges: dict[int, tuple[float, int]]) -> None:
        """A maximum that fills a buffer of its own keeps its source's scale: it then changes no element."""
        target = destinations_of(step)[0].slice
        whole = target.channels == self._plan.buffers[target.buffer].channels
        if whole and getattr(step, "mode", None) == "max":
            ranges[target.buffer] = ranges[sources_of(step)[0].buffer]


def tap_means(x: torch.Tensor, conv: Convolution, size: tuple[int, int]) -> torch.Tensor:
    """The average of ``x`` ``[N, C, H, W]`` under each tap over images and output pixels: ``[taps, C]`` float64."""
    image = x.mean(dim=0).double()
    means = image.new_zeros(len(conv.taps), x.shape[1])
    for tap, offset in enumerate(conv.taps):
        inside = image
        for axis in (0, 1):
            positions = torch.arange(size[axis], device="cpu") * conv.stride[axis] + offset[axis]
            kept = positions[(positions >= 0) & (positions < image.shape[1 + axis])]
            inside = inside.index_select(1 + axis, kept)
        means[tap] = inside.sum(dim=(1, 2)) / (size[0] * size[1])
    return means


def _scale_and_zero(least: float, most: float) -> tuple[float, int]:
    scale = torch.tensor((most - least) / LEVELS, dtype=torch.float32, device="cpu").clamp(*SCALES).item()
    return scale, min(LEVELS, max(0, round(-least / scale)))


def _loss(samples: torch.Tensor, scale: float, zero: int) -> float:
    elements = (samples / scale).round().clamp(-zero, LEVELS - zero)
    return (elements * scale - samples).square_().sum(dtype=torch.float64).item()
