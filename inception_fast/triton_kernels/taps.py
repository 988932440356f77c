"""What the kernels must know of a convolution's taps; needs no Triton."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from inception_fast.plan.plan import Convolution, DepthwiseStep


class TapGrid(NamedTuple):
    """Taps in row-major order: ``(origin_y + r * dilation_y, origin_x + c * dilation_x)``, ``c < columns``."""

    columns: int
    origin_y: int
    origin_x: int
    dilation_y: int
    dilation_x: int


def tap_grid(conv: Convolution | DepthwiseStep) -> TapGrid | None:
    """The grid that lists a convolution's taps; None where there is none."""
    rows, columns = sorted({dy for dy, _ in conv.taps}), sorted({dx for _, dx in conv.taps})
    dilation = [(axis[1] - axis[0]) if len(axis) > 1 else 1 for axis in (rows, columns)]
    grid = tuple(
        (rows[0] + r * dilation[0], columns[0] + c * dilation[1]) for r in range(len(rows)) for c in range(len(columns))
    )
    return TapGrid(len(columns), rows[0], columns[0], *dilation) if grid == conv.taps else None


def leaves_image(conv: Convolution | DepthwiseStep, source: Sequence[int], output: Sequence[int]) -> bool:
    """Whether a tap of some output pixel is outside the source image; both as (height, width)."""
    for axis in (0, 1):
        offsets = [tap[axis] for tap in conv.taps]
        if min(offsets) < 0 or (output[axis] - 1) * conv.stride[axis] + max(offsets) >= source[axis]:
            return True
    return False
