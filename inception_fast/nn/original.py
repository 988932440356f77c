"""The module that a block replaces, where it has to compute after all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _pytree as pytree


def run_original(module: Callable[[torch.Tensor], Any], x: torch.Tensor, batch_invariant: bool) -> Any:
    """What a module returns for images ``[N, C, H, W]``.

    Args:
        batch_invariant: one image at a time, for PyTorch's sums depend on the batch.
    """
    if not batch_invariant:
        return module(x)
    # Copies in one layout: an image's strides must not tell of the batch that it came in.
    outputs = [module(image.clone(memory_format=torch.channels_last)) for image in x.split(1)]
    return pytree.tree_map(lambda *same: torch.cat(same) if isinstance(same[0], torch.Tensor) else same[0], *outputs)
