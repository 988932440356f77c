"""Batch invariance for libraries that order their sums by batch size: one image at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch


def run_per_image(forward: Callable[[torch.Tensor], list[torch.Tensor]], x: torch.Tensor) -> list[torch.Tensor]:
    """``forward`` of each image on its own, the results put together again."""
    # A copy in one layout: an image's strides must not tell of the batch that it came in.
    images = [forward(image.contiguous(memory_format=torch.channels_last)) for image in x.split(1)]
    return [torch.cat(same) for same in zip(*images, strict=True)]
