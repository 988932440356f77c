"""``InceptionBlock``: branches side by side, concatenated or added to their input."""

from __future__ import annotations

from typing import Any

from torch import nn

from inception_fast.errors import InputError
from inception_fast.models.layers import Concat
from inception_fast.nn.block import Block
from inception_fast.nn.forms import Options


class InceptionBlock(Block):
    """Branches that read one tensor, written by fast kernels straight into their channels of the result.

    Args:
        branches: modules ``[N, in, H, W] -> [N, any, H', W']``, whose results are concatenated in this order. They
            become ``branch0``, ``branch1`` and so on.
        options: ``precision``, ``backend`` and ``batch_invariant``, as for :func:`inception_fast.optimize`.
    """

    def __init__(self, *branches: nn.Module, **options: Any) -> None:
        if not branches:
            raise InputError("branches", "none", "at least one module")
        whole = Concat()
        for index, branch in enumerate(branches):
            whole.add_module(f"branch{index}", branch)
        whole.training = any(branch.training for branch in branches)
        super().__init__(whole, Options(**options))

    @classmethod
    def from_torch(cls, module: nn.Module, **options: Any) -> InceptionBlock:
        """The same block on fast kernels, with the weights shared.

        Args:
            module: a block of any network of the family, or several of them in sequence: whatever
                :func:`inception_fast.optimize` takes.
            options: as for the class.

        What the block cannot serve shows at its first image, when its size is known.
        """
        return cls.wrap(module, Options(**options))
