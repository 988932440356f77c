"""Winograd's F(2, 3) on 8 bits (S. Winograd, "Arithmetic Complexity of Computations", 1980; A. Lavin and S. Gray,
arXiv:1509.09308), with the inputs' sums and differences halved so that they fit; ``docs/int8.md``.
"""

from __future__ import annotations

import math

import torch

from inception_fast.plan.plan import Convolution, Pair
from inception_fast.plan.winograd import AXES, WinogradTaps, winograd_taps

FEWEST_CHANNELS = 64
"""With fewer, sums average the rounding of the transforms less, and direct kernels are nearly as fast."""


def best_winograd_taps(conv: Convolution, size: Pair) -> WinogradTaps | None:
    """Along the axis that leaves the fewest products for an output of ``size``; None where direct sums have fewer."""
    if conv.in_channels < FEWEST_CHANNELS:
        return None

    def products(taps: WinogradTaps) -> int:
        return math.ceil(size[taps.axis] / 2) * size[1 - taps.axis] * taps.products

    found = [taps for taps in (winograd_taps(conv, axis) for axis in reversed(AXES)) if taps is not None]
    best = min(found, key=products, default=None)
    return best if best is not None and products(best) < math.prod(size) * len(conv.taps) else None


def transformed(weight: torch.Tensor, taps: WinogradTaps) -> torch.Tensor:
    """``[C_out, T, C_in]`` -> ``[C_out, taps.weights, C_in]``, in whose sums the inputs count half."""
    lines = _lines(weight, taps)
    first, second, third = (lines[:, :, i : 3 * taps.triples : 3] for i in range(3))
    points = (2 * first, first + second + third, first - second + third, 2 * third)
    return _by_line(torch.stack(points, dim=3), lines[:, :, 3 * taps.triples :])


def mean_points(means: torch.Tensor, taps: WinogradTaps) -> torch.Tensor:
    """``[T, C_in]`` averages of the input under each tap -> ``[taps.weights, C_in]`` of what each weight multiplies."""
    lines = _lines(means.unsqueeze(0), taps)
    # Neighbours have nearly the same average, so that of the difference is nothing.
    of_sum = lines[:, :, : 3 * taps.triples].unflatten(2, (taps.triples, 3)).mean(dim=3)
    nothing = torch.zeros_like(of_sum)
    return _by_line(torch.stack((nothing, of_sum, nothing, nothing), dim=3), lines[:, :, 3 * taps.triples :]).squeeze(0)


def _lines(values: torch.Tensor, taps: WinogradTaps) -> torch.Tensor:
    """``[N, T, C]`` -> ``[N, lines, taps of a line, C]``."""
    rectangle = values.unflatten(1, taps.extent)
    return rectangle if taps.axis == 1 else rectangle.transpose(1, 2)


def _by_line(triples: torch.Tensor, singles: torch.Tensor) -> torch.Tensor:
    """``[N, lines, triples, 4, C]`` and ``[N, lines, singles, C]`` -> ``[N, weights, C]``."""
    return torch.cat([triples.flatten(2, 3), singles], dim=2).flatten(1, 2)
