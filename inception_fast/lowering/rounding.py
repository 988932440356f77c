"""From float64, which folding computes in, to the float32 of a Plan, so that what is lost does not add up.

What rounding takes from a constant it takes at every pixel, so pools do not average it out; where values are far from
zero and cancel, it would become most of the error.
"""

from __future__ import annotations

import torch


def rounded_weights(weight: torch.Tensor) -> torch.Tensor:
    """``[C_out, taps, C_in]`` in float32, whose sums over the taps are those of ``weight``.

    The smallest tap of each kernel makes up for the others, for its own digits go furthest: over neighbours that are
    alike nothing is lost. Zeros stay zeros. Not for windows of which the image shows some taps alone.
    """
    nearest = weight.float()
    if weight.dtype != torch.float64 or weight.shape[1] == 1:
        return nearest
    lost = (weight - nearest).sum(1, keepdim=True).float()
    magnitude, smallest = nearest.abs().masked_fill_(nearest == 0, torch.inf).min(1, keepdim=True)
    # What would change it altogether, and NaN of infinite weights, stays lost.
    lost = lost.where(2 * lost.abs() < magnitude, 0.0)
    return nearest.scatter_add_(1, smallest, lost)


def rounded_affine(scale: torch.Tensor, shift: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both ``[C]`` in float32, with ``scale * x + shift`` zero where it was."""
    nearest = scale.float()
    ratio = nearest.double() / scale
    # Not of a scale of zero, or one that float32 does not have.
    ratio = ratio.where((ratio - 1).abs() < 1e-6, 1.0)
    return nearest, (shift * ratio).float()
