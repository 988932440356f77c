"""What is promised of every precision: an error of at most twice eager's, and float32's floor."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor, nn

from inception_fast.bench.accuracy import allowed, compare, flatten
from inception_fast.plan.engine_file import PRECISIONS

ROUNDINGS = 1.0
"""Of the result, that a half precision may always have: of a few numbers eager's own error may happen to be none."""


@dataclass(frozen=True)
class Excess:
    """A result's error over its bound; more than 1 is too much."""

    ratio: float
    text: str


def excess(results: list[Tensor], net: nn.Module, x: Tensor, precision: str, factor: float = 1.0) -> Excess:
    """``net`` is the module in float32 and is left as it was; ``factor`` multiplies the bound."""
    dtype = getattr(torch, PRECISIONS[precision])
    truth = flatten(net.double()(x.double()))
    # Through float32, which float64 holds.
    typed = flatten(net.float().to(dtype)(x.to(dtype)))
    net.float()
    # A ReLU may leave nothing of an output, of which no error is relative.
    some = [bool(t.any()) or not bool(r.isfinite().all()) for t, r in zip(truth, results, strict=True)]
    if not any(some):
        return Excess(0.0, "nothing but zeros")
    eager = compare(_chosen(typed, some), _chosen(truth, some)).relative_l2
    bound = factor * allowed(precision, eager)
    if precision != "fp32":
        bound = max(bound, ROUNDINGS * torch.finfo(dtype).eps / 2)
    error = compare(_chosen(results, some), _chosen(truth, some)).relative_l2
    text = f"relative L2 {error:.2e}, {error / eager if eager else inf:.1f} times eager's; at most {bound:.2e}"
    return Excess(error / bound if error == error else inf, text)


def _chosen(values: list[Tensor], which: list[bool]) -> list[Tensor]:
    return [value for value, chosen in zip(values, which, strict=True) if chosen]
