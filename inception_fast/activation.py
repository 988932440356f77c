"""Functions of one number that follow a layer, by the names that PyTorch has for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
import torch.nn.functional as F

FunctionName = Literal[
    "sigmoid", "tanh", "silu", "gelu", "gelu_tanh", "hardsigmoid", "hardswish",
    "elu", "leaky_relu", "prelu", "clamp", "clamp_min", "clamp_max", "power",
]  # fmt: skip
FUNCTIONS: tuple[FunctionName, ...] = get_args(FunctionName)
_OPTIONAL = {"optional": True}


@dataclass(frozen=True)
class Activation:
    """``function`` of each element; NaN stays NaN.

    ========================  ==========================================================================
    ``sigmoid``, ``tanh``     ``1 / (1 + exp(-x))``, the hyperbolic tangent
    ``silu``                  ``x * sigmoid(x)``
    ``gelu``, ``gelu_tanh``   ``x * Phi(x)`` with the normal distribution function, and its approximation by tanh
                              (Hendrycks and Gimpel, arXiv:1606.08415)
    ``hardsigmoid``           ``min(max(x + 3, 0), 6) / 6``
    ``hardswish``             ``x * hardsigmoid(x)``
    ``elu``                   ``x`` where it is positive, else ``alpha * (exp(x) - 1)``
    ``leaky_relu``            ``x`` where it is positive, else ``alpha * x``
    ``prelu``                 the same with an alpha for each channel
    ``clamp_min``             ``max(x, alpha)``
    ``clamp_max``             ``min(x, beta)``
    ``clamp``                 ``min(max(x, alpha), beta)``
    ``power``                 ``x ** alpha``
    ========================  ==========================================================================

    Attributes:
        alpha, beta: finite float32 numbers; 0 for the functions without them.
        slope: for ``prelu`` the name of a parameter, or constant, ``[C]``.
    """

    function: FunctionName
    alpha: float = field(default=0.0, metadata=_OPTIONAL)
    beta: float = field(default=0.0, metadata=_OPTIONAL)
    slope: str | None = field(default=None, metadata=_OPTIONAL)


def activate(x: torch.Tensor, activation: Activation, named: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The function of ``x``, ``[N, C, ...]``, as a new tensor.

    Args:
        named: has what ``activation.slope`` names, ``[C]``, where there is one.
    """
    a = activation.alpha
    match activation.function:
        case "sigmoid":
            return torch.sigmoid(x)
        case "tanh":
            return torch.tanh(x)
        case "silu":
            return F.silu(x)
        case "gelu":
            return F.gelu(x)
        case "gelu_tanh":
            return F.gelu(x, approximate="tanh")
        case "hardsigmoid":
            return F.hardsigmoid(x)
        case "hardswish":
            return F.hardswish(x)
        case "elu":
            return F.elu(x, a)
        case "leaky_relu":
            return F.leaky_relu(x, a)
        case "prelu":
            assert activation.slope is not None
            return F.prelu(x, named[activation.slope].to(x.dtype))
        case "clamp":
            return x.clamp(a, activation.beta)
        case "clamp_min":
            return x.clamp_min(a)
        case "clamp_max":
            return x.clamp_max(activation.beta)
        case "power":
            return x.pow(a)
