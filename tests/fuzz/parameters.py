"""Parameters and images of a random network, drawn in the order of its layers."""

from __future__ import annotations

from math import prod, sqrt

import torch
from torch import Tensor

EXACT_EPS = 2.0**-10
"""Of a batch normalisation whose scale is exact: it and the variance add up to a power of two."""


class Parameters:
    """Draws float32 tensors.

    Args:
        terms: None for random numbers by He's rule; else every tensor is of small integers, and a sum of products has
            so many terms at most that are not zero.
    """

    def __init__(self, seed: int, terms: int | None) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.terms = terms

    def weight(self, *shape: int) -> Tensor:
        """``[C_out, C_in, ...]``."""
        if self.terms is None:
            return torch.randn(shape, generator=self.generator) * sqrt(2 / prod(shape[1:]))
        width = prod(shape[1:])
        order = torch.rand(shape[0], width, generator=self.generator).argsort(1)[:, : self.terms]
        values = torch.zeros(shape[0], width).scatter_(1, order, self._signs(*order.shape))
        return values.view(shape)

    def vector(self, channels: int) -> Tensor:
        """A bias or a shift."""
        if self.terms is None:
            return torch.empty(channels).uniform_(-0.5, 0.5, generator=self.generator)
        return torch.randint(-2, 3, (channels,), generator=self.generator).float()

    def scale(self, channels: int) -> Tensor:
        """A factor for each channel, of either sign."""
        signs = self._signs(channels)
        if self.terms is None:
            return signs * torch.empty(channels).uniform_(0.6, 1.6, generator=self.generator)
        return signs * 2.0 ** torch.randint(0, 2, (channels,), generator=self.generator)

    def variance(self, channels: int) -> Tensor:
        if self.terms is None:
            return torch.empty(channels).uniform_(0.4, 2, generator=self.generator)
        return torch.full((channels,), 1 - EXACT_EPS)

    def images(self, *shape: int) -> Tensor:
        if self.terms is None:
            return torch.randn(shape, generator=self.generator)
        return torch.randint(-3, 4, shape, generator=self.generator).float()

    def _signs(self, *shape: int) -> Tensor:
        return torch.randint(0, 2, shape, generator=self.generator) * 2.0 - 1
