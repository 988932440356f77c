"""What PyTorch does in place of a fused step: convolution, batch norm, addition, ReLU, each an operator of its own."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from inception_fast.backends.reference import dense_window, window_padding
from inception_fast.backends.torch_kernels import pool_kernel
from inception_fast.plan.plan import (
    Convolution,
    ConvStep,
    PairStep,
    Plan,
    PointwiseStep,
    PoolStep,
    destinations_of,
    sources_of,
)

BN_EPS = 1e-3
Pair = tuple[int, int]


class Twin(nn.Module):
    """The unfused operators of a Plan of one step, float64: ``[N, C, H, W]`` operands to the step's destinations.

    A convolution that was merged of several is split again, one a destination, and the batch norm that was folded into
    it is one again. A residual convolution had none.
    """

    def __init__(self, plan: Plan, constants: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        (step,) = plan.steps
        source, target = ((plan.buffers[i].height, plan.buffers[i].width) for i in (0, 1))
        self.relus = [d.relu for d in destinations_of(step)]
        counts = [d.slice.channels for d in destinations_of(step)]
        self.first: nn.Module = nn.Identity()
        self.first_relu = isinstance(step, PairStep) and step.first_relu
        match step:
            case ConvStep():
                self.parts = _split(step.conv, constants, counts, source, target, norm=step.residual is None)
            case PairStep():
                middle = (step.middle_height, step.middle_width)
                (self.first,) = _split(step.first, constants, [step.first.out_channels], source, middle, norm=True)
                self.parts = _split(step.second, constants, counts, middle, target, norm=step.residual is None)
            case PoolStep():
                bias = None if step.bias is None else constants[step.bias]
                self.parts = nn.ModuleList([_Pool(step, source, target, bias)])
            case PointwiseStep():
                named = {"scale": step.scale, "shift": step.shift}
                self.parts = nn.ModuleList([_Pointwise({k: constants[v] for k, v in named.items() if v is not None})])
            case _:
                raise TypeError(f"a {step.kind} step has no twin")

    def forward(self, x: torch.Tensor, other: torch.Tensor | None = None) -> list[torch.Tensor]:
        x = self.first(x)
        x = F.relu(x, inplace=True) if self.first_relu else x
        results = [part(x) for part in self.parts]
        if other is not None:
            results = [result + other for result in results]
        return [F.relu(r, inplace=True) if relu else r for r, relu in zip(results, self.relus, strict=True)]


def operands_of(plan: Plan, x: torch.Tensor, memory_format: torch.memory_format) -> list[torch.Tensor]:
    """The operands of a Plan of one step, each a tensor of its own, from the Plan's input."""
    channels = [piece.channels for piece in sources_of(plan.steps[0])]
    return [part.clone(memory_format=memory_format) for part in x.split(channels, dim=1)]


class _Convolution(nn.Module):
    """A convolution with a bias; a linear layer where that is what it was."""

    def __init__(self, window: torch.Tensor, bias: torch.Tensor | None, stride: Pair, pads: tuple[int, ...]) -> None:
        super().__init__()
        self.weight = nn.Parameter(window.contiguous(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.clone(), requires_grad=False)
        self.stride, self.pads = stride, pads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[2:] == (1, 1) == self.weight.shape[2:]:
            return F.linear(x.flatten(1), self.weight.flatten(1), self.bias)[..., None, None]
        top, left, bottom, right = self.pads
        if (top, left) == (bottom, right):
            return F.conv2d(x, self.weight, self.bias, self.stride, (top, left))
        return F.conv2d(F.pad(x, (left, right, top, bottom)), self.weight, self.bias, self.stride)


class _Pool(nn.Module):
    def __init__(self, step: PoolStep, source: Pair, target: Pair, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.pool = pool_kernel(step, source, target, None)
        self.bias = None if bias is None else _channels(bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(x)
        return x if self.bias is None else x + self.bias


class _Pointwise(nn.Module):
    def __init__(self, vectors: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.vectors = nn.ParameterDict({name: _channels(vector) for name, vector in vectors.items()})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x * self.vectors["scale"] if "scale" in self.vectors else x.clone()
        return x + self.vectors["shift"] if "shift" in self.vectors else x


def _channels(vector: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(vector.double().view(-1, 1, 1), requires_grad=False)


def _split(
    conv: Convolution, constants: Mapping[str, torch.Tensor], counts: list[int], source: Pair, target: Pair, norm: bool
) -> nn.ModuleList:
    """The convolution's output channels in runs of ``counts``, each a convolution and, with ``norm``, a batch norm."""
    window, origin = dense_window(conv, constants[conv.weight].double())
    pads = _library_padding(window_padding(conv, origin, tuple(window.shape[2:]), source, target), conv.stride)
    weights = window.split(counts)
    biases = [None] * len(counts) if conv.bias is None else constants[conv.bias].double().split(counts)
    parts = nn.ModuleList()
    for weight, bias in zip(weights, biases, strict=True):
        if norm and bias is not None:
            parts.append(nn.Sequential(_Convolution(weight, None, conv.stride, pads), _batch_norm(bias)))
        else:
            parts.append(_Convolution(weight, bias, conv.stride, pads))
    return parts


def _batch_norm(bias: torch.Tensor) -> nn.BatchNorm2d:
    """One that adds a bias and does nothing else."""
    norm = nn.BatchNorm2d(len(bias), eps=BN_EPS, dtype=torch.float64).eval()
    assert norm.running_var is not None
    norm.running_var.fill_(1 - BN_EPS)
    norm.bias.data.copy_(bias)
    return norm


def _library_padding(pads: tuple[int, int, int, int], stride: Pair) -> tuple[int, int, int, int]:
    """The same zeros on both sides where the library's rounding down makes that come to the same size."""
    top, left, bottom, right = pads
    spare = [0 <= begin - end < s for begin, end, s in ((top, bottom, stride[0]), (left, right, stride[1]))]
    return (top, left, top, left) if all(spare) and min(top, left) >= 0 else pads
