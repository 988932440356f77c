"""A batch run in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

Forward = Callable[[torch.Tensor], list[torch.Tensor]]


def run_pieces(forward: Forward, pieces: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """``forward`` of each piece of a batch on its own, the results put together again."""
    results = [forward(piece) for piece in pieces]
    return results[0] if len(results) == 1 else [torch.cat(same) for same in zip(*results, strict=True)]


def run_per_image(forward: Forward, x: torch.Tensor) -> list[torch.Tensor]:
    """One image at a time: batch invariance for libraries that order their sums by batch size."""
    # A copy in one layout: an image's strides must not tell of the batch that it came in.
    return run_pieces(forward, (image.contiguous(memory_format=torch.channels_last) for image in x.split(1)))
