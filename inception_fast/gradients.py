"""No gradient is lost in silence: what a fast module returns where one is wanted refuses it when it is asked for.

Refusing earlier would refuse every call of somebody who has forgotten ``torch.no_grad()`` and wants no gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from inception_fast.errors import InputError


def refusal() -> InputError:
    """The error of a backward pass."""
    remedy = (
        "inference, under torch.no_grad() or with x.detach() and requires_grad_(False); to train, take the model "
        "itself (of a drop-in module, its .original)"
    )
    return InputError("backward", "a gradient wanted through a fast module, which computes none", remedy)


def refusing(run: Callable[[], list[torch.Tensor]], wanted: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """What ``run`` returns, as results whose gradient is refused.

    Args:
        run: computes new tensors; a tensor may be among them twice.
        wanted: tensors with ``requires_grad``, at least one.
    """
    places: list[int] = []
    distinct = _Refusing.apply(run, places, *wanted)
    return [distinct[i] for i in places]


def refusing_leaves(run: Callable[[], list[Any]], wanted: Sequence[torch.Tensor]) -> list[Any]:
    """:func:`refusing` where other things are among what ``run`` returns, which stay as they are."""
    results: list[Any] = []

    def tensors() -> list[torch.Tensor]:
        results.extend(run())
        return [r for r in results if isinstance(r, torch.Tensor)]

    refused = iter(refusing(tensors, wanted))
    return [next(refused) if isinstance(r, torch.Tensor) else r for r in results]


class _Refusing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, run: Callable[[], list[torch.Tensor]], places: list[int], *_: torch.Tensor) -> Any:
        results = run()
        distinct = {id(t): t for t in results}
        order = {key: i for i, key in enumerate(distinct)}
        places += [order[id(t)] for t in results]
        return tuple(distinct.values())

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        raise refusal()
