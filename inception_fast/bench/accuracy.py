"""How far a result is from the truth: the user's model in float64 on the CPU."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
import torch
from torch import nn

FP32_FLOOR = 1e-5
"""Relative L2 that float32 may always have; reordered sums and Winograd stay far below it."""


@dataclass(frozen=True)
class Error:
    """Distance of a result from the truth.

    Attributes:
        relative_l2: ``|result - truth| / |truth|``, the largest among the outputs.
        max_abs: the largest difference of an element.
        top1: share of images whose largest entry is where the truth has it; None where no output is ``[N, C]``.
        regret: how far the truth's entry where the result has its largest lies below the truth's largest, in root mean
            squares of the image's truth; the largest among images and outputs, None as before.
    """

    relative_l2: float
    max_abs: float
    top1: float | None
    regret: float | None = None


@torch.no_grad()
def true_outputs(model: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """The model's outputs in float64 on the CPU, in order."""
    exact = copy.deepcopy(model).to("cpu", torch.float64)
    return flatten(exact(x.to("cpu", torch.float64)))


def flatten(outputs: object) -> list[torch.Tensor]:
    """The tensors in a nested result, in order, as float64 on the CPU; NumPy arrays become tensors."""
    if isinstance(outputs, torch.Tensor):
        return [outputs.detach().to("cpu", torch.float64)]
    if isinstance(outputs, np.ndarray):
        return [torch.from_numpy(np.asarray(outputs, np.float64))]
    if isinstance(outputs, Mapping):
        outputs = list(outputs.values())
    if isinstance(outputs, list | tuple):
        return [tensor for item in outputs for tensor in flatten(item)]
    raise TypeError(f"a result holds a {type(outputs).__name__}; expected tensors, lists, tuples and dicts of them")


def compare(results: Sequence[torch.Tensor], truth: Sequence[torch.Tensor]) -> Error:
    """The error of a result; infinite where number or shapes of the outputs differ, NaN where it holds NaN."""
    if [r.shape for r in results] != [t.shape for t in truth]:
        return Error(float("inf"), float("inf"), None)
    pairs = list(zip(results, truth, strict=True))
    scores = [(r, t) for r, t in pairs if t.dim() == 2]
    votes = [(r.argmax(1) == t.argmax(1)).double().mean().item() for r, t in scores]
    return Error(
        _largest([_relative_l2(r, t) for r, t in pairs]),
        _largest([(r - t).abs().max().item() for r, t in pairs]),
        min(votes) if votes else None,
        _largest([_regret(r, t) for r, t in scores]) if scores else None,
    )


INT8_ERROR = 0.1
"""Relative L2 that quantising may cost; PyTorch eager has no int8 to be compared with."""
INT8_REGRET = 3 * INT8_ERROR
"""An entry may change places with one so far above it: three times what the allowed error makes of an entry. Where two
lie closer than that, which of them is the largest says nothing of the quantised network.
"""


def allowed(precision: str, eager: float) -> float:
    """Relative L2 that our result may have where PyTorch eager's, in one precision on one device, is ``eager``."""
    if precision == "int8":
        return INT8_ERROR
    return max(2 * eager, FP32_FLOOR) if precision == "fp32" else 2 * eager


def plausible(precision: str, eager: float) -> float:
    """Relative L2 above which a peer's result, which promises no bound, is wrong and not merely rounded otherwise."""
    if precision == "int8":
        return 2 * INT8_ERROR
    return max(10 * eager, 1e-4)


def agrees(precision: str, error: Error) -> bool:
    """Whether a quantised network names, for every image, an entry that the network has at the top or near it; other
    precisions need not be asked.
    """
    return precision != "int8" or error.regret is None or error.regret <= INT8_REGRET


def within(error: Error, bound: float) -> bool:
    """Whether an error is finite and not above a bound."""
    return isfinite(error.relative_l2) and error.relative_l2 <= bound


def _relative_l2(result: torch.Tensor, truth: torch.Tensor) -> float:
    difference, size = (result - truth).norm().item(), truth.norm().item()
    return difference / size if size else (0.0 if difference == 0 else float("inf"))


def _regret(result: torch.Tensor, truth: torch.Tensor) -> float:
    named = truth.gather(1, result.argmax(1, keepdim=True))
    unit = truth.square().mean(1, keepdim=True).sqrt()
    # Nothing is lost where the truth is zero.
    return ((truth.amax(1, keepdim=True) - named) / unit.clamp_min(torch.finfo(truth.dtype).tiny)).max().item()


def _largest(values: Sequence[float]) -> float:
    # max() would lose a NaN that does not come first.
    return float("nan") if any(v != v for v in values) else max(values, default=0.0)
