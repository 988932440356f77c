"""Numbers that are known while a graph is traced: ONNX writes sizes, axes and bounds as tensors of rank 0 and 1, which
are Python's numbers and lists of them here. The size of a batch among them stays open, a ``SymInt`` in a trace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import SymBool, SymFloat, SymInt, Tensor

MOST = 64
"""A longer tensor is no list of sizes."""
_NUMBER = (bool, int, float, SymInt, SymFloat, SymBool)
_WHOLE = (torch.int64, torch.int32, torch.bool)


def is_numbers(value: Any) -> bool:
    """Whether a value is a number or a list of them, not a tensor."""
    return isinstance(value, _NUMBER) or (
        isinstance(value, list | tuple) and all(isinstance(v, _NUMBER) for v in value)
    )


def numbers_in(tensor: Tensor, *, real: bool) -> Any:
    """A constant as numbers, None where it has to be a tensor.

    Args:
        real: whether floating-point numbers may be taken so.
    """
    if tensor.dim() > 1 or tensor.numel() > MOST:
        return None
    return tensor.tolist() if tensor.dtype in _WHOLE or (real and tensor.is_floating_point()) else None


def tensor_like(value: Any, like: Tensor) -> Tensor:
    """Numbers as a tensor on the device of ``like``; real ones in its type."""
    if isinstance(value, Tensor):
        return value
    first = value[0] if isinstance(value, list | tuple) and value else value
    dtype = like.dtype if isinstance(first, float) else torch.bool if isinstance(first, bool) else torch.int64
    return torch.tensor(value, dtype=dtype, device=like.device)


def listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def elementwise(function: Callable[..., Any], *values: Any) -> Any:
    """A function of numbers on numbers and lists of them, which a single one is repeated along."""
    if not any(isinstance(v, list | tuple) for v in values):
        return function(*values)
    columns = [listed(v) for v in values]
    length = 0 if not all(columns) else max(map(len, columns))
    if any(len(c) not in (1, length) for c in columns):
        raise ValueError(f"lists of {', '.join(str(len(c)) for c in columns)} numbers do not fit each other")
    return [function(*(c[0] if len(c) == 1 else c[i] for c in columns)) for i in range(length)]


def fixed(values: Sequence[Any]) -> bool:
    """Whether none of the numbers depends on the batch."""
    return all(isinstance(v, bool | int | float) for v in values)
