"""The ``nn.Module`` of a description, as a user would write it, and its images."""

from __future__ import annotations

from collections import namedtuple
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.fuzz import description as d
from tests.fuzz.exact import first_terms, is_exact
from tests.fuzz.parameters import EXACT_EPS, Parameters

MOST_TERMS = 64
ALIKE = 1e-6
"""Values whose deviation is less than that of their mean are the same but for rounding."""
UNFILLED = "meta"
"""Where PyTorch's own choice of parameters costs nothing."""


class Net(nn.Module):
    """A whole network."""

    def __init__(self, network: d.Network, body: Path) -> None:
        super().__init__()
        self.body, self.returns, self.bytes = body, network.returns, network.bytes

    def forward(self, x: Tensor) -> Any:
        taps: list[Tensor] = []
        if self.bytes:
            x = (x if x.is_floating_point() else x.float()) / 128
        last = self.body(x, taps)
        if self.returns == "last":
            return last
        values = [*taps, last]
        names = [f"value{i}" for i in range(len(values))]
        match self.returns:
            case "dict":
                return dict(zip(names, values, strict=True))
            case "namedtuple":
                return _named(tuple(names))(*values)
            case "list":
                return values
        return tuple(values)


_NAMED: dict[tuple[str, ...], Any] = {}


def _named(names: tuple[str, ...]) -> Any:
    """One class for each set of names: PyTorch's trees tell two classes apart."""
    return _NAMED.setdefault(names, namedtuple("Values", names))


class Path(nn.Module):
    """A chain; layers with parameters are submodules, the rest is functions."""

    def __init__(self, steps: list[nn.Module]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, x: Tensor, taps: list[Tensor]) -> Tensor:
        for step in self.steps:
            x = step(x, taps) if isinstance(step, Path | Fork | Record) else step(x)
        return x


class Fork(nn.Module):
    """Several paths over one value, joined."""

    def __init__(self, layer: d.Concat | d.Sum | d.Product, paths: list[Path]) -> None:
        super().__init__()
        self.layer, self.paths = layer, nn.ModuleList(paths)

    def forward(self, x: Tensor, taps: list[Tensor]) -> Tensor:
        values = [path(x, taps) for path in self.paths]
        if isinstance(self.layer, d.Concat):
            return torch.cat(values, dim=1)
        left, right = values
        if isinstance(self.layer, d.Product):
            return left * right
        return left + (right if self.layer.scale == 1 else self.layer.scale * right)


class Record(nn.Module):
    """A tap."""

    def __init__(self, layer: d.Tap) -> None:
        super().__init__()
        self.flat = layer.flat

    def forward(self, x: Tensor, taps: list[Tensor]) -> Tensor:
        taps.append(x.flatten(1) if self.flat else x)
        return x


class ScaleShift(nn.Module):
    """``x * scale + shift``; tensors ``[C, 1, 1]`` or ``[C]``, or numbers."""

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


class FlatLinear(nn.Linear):
    """A linear layer over whatever comes, flattened."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.dim() == 2 else torch.flatten(x, 1))


class LocalResponse(nn.LocalResponseNorm):
    """PyTorch's, which is not there for half precision on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype in (torch.float16, torch.bfloat16):
            return super().forward(x.float()).to(x.dtype)
        return super().forward(x)


class Function(nn.Module):
    """A layer without parameters."""

    def __init__(self, layer: d.Layer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        match self.layer:
            case d.Relu():
                return F.relu(x)
            case d.Dropout():
                return F.dropout(x, 0.4, self.training)
            case d.Pool(mode="max") as p:
                return F.max_pool2d(x, p.kernel, p.stride, p.padding, 1, p.ceil)
            case d.Pool() as p:
                return F.avg_pool2d(x, p.kernel, p.stride, p.padding, p.ceil, p.count_pad)
            case d.GlobalPool(kind="adaptive"):
                return F.adaptive_avg_pool2d(x, 1)
            case d.GlobalPool(kind="mean"):
                return x.mean((2, 3))
            case d.GlobalPool():
                return F.adaptive_max_pool2d(x, (1, 1))
            case d.AdaptivePool(size=size, mode=mode):
                return (F.adaptive_max_pool2d if mode == "max" else F.adaptive_avg_pool2d)(x, size)
            case d.Activate():
                return _activate(x, self.layer)
            case d.Softmax(log=log):
                return F.log_softmax(x, dim=1) if log else x.softmax(1)
            case d.Resize(size=size, align=align):
                return F.interpolate(x, size, mode="bilinear", align_corners=align)
            case d.Flat():
                return torch.flatten(x, 1)
            case d.Unit():
                return F.normalize(x, dim=1)
            case d.Narrow(start=start, channels=channels):
                return x[:, start : start + channels]
        raise NotImplementedError(self.layer)


def _activate(x: Tensor, layer: d.Activate) -> Tensor:
    match layer.function:
        case "gelu_tanh":
            return F.gelu(x, approximate="tanh")
        case "elu" | "leaky_relu":
            return getattr(F, layer.function)(x, layer.alpha)
        case "clamp":
            return x.clamp(layer.alpha, layer.beta)
        case "clamp_min":
            return x.clamp_min(layer.alpha)
        case "clamp_max":
            return x.clamp_max(layer.beta)
        case "power":
            return x.pow(layer.alpha)
        case "sigmoid" | "tanh":
            return getattr(torch, layer.function)(x)
        case name:
            return getattr(F, name)(x)


def check(network: d.Network) -> None:
    """Passes where :func:`module` can make one.

    Raises:
        Invalid: the layers do not fit each other, no choice of integers keeps every sum exact, or a normalisation has
            a single number to take statistics of.
    """
    network.check()
    if network.exact:
        _terms(network)
    if network.offset:
        _drawn(network, None)


def module(network: d.Network) -> tuple[nn.Module, Tensor]:
    """The module in eval mode and its images ``[N, C, H, W]``, float32 or bytes; raises as :func:`check`."""
    network.check()
    return _drawn(network, _terms(network) if network.exact else None)


@lru_cache(maxsize=8)
def _terms(network: d.Network) -> int:
    """How many products a sum may have so that all are exact."""
    terms = min(MOST_TERMS, first_terms(network))
    while not is_exact(network, *_drawn(network, terms)):
        d.require(terms > 1, "sums stay exact")
        terms = terms * 2 // 3
    return terms


def _drawn(network: d.Network, terms: int | None) -> tuple[nn.Module, Tensor]:
    parameters = Parameters(network.seed, terms)
    net = Net(network, _path(network.layers, network.image, parameters)).eval()
    # Last: other numbers of images leave the parameters as they are.
    x = parameters.images(network.batch, *network.image) + network.offset
    if network.bytes:
        x = (64 * x + 128).clamp(0, 255).to(torch.uint8)
    if network.offset:
        _calibrate(net, x)
    return net, x


@torch.no_grad()
def _calibrate(net: nn.Module, x: Tensor) -> None:
    """Gives normalisations the statistics of their input."""
    norms = [part for part in net.modules() if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    try:
        net(x)
    except ValueError as error:
        raise d.Invalid(str(error)) from None
    net.eval()
    alike = [(norm.running_var.sqrt() <= ALIKE * norm.running_mean.abs()).any() for norm in norms]
    d.require(not any(alike), "normalised values differ")


def _path(chain: d.Chain, shape: d.Shape, parameters: Parameters) -> Path:
    steps = []
    for layer in chain:
        steps.append(_step(layer, shape, parameters))
        shape = layer.shape(shape)
    return Path(steps)


def _step(layer: d.Layer, shape: d.Shape, parameters: Parameters) -> nn.Module:
    channels = shape[0]
    match layer:
        case d.Conv():
            return _conv(layer, channels, parameters)
        case d.Norm(affine=affine):
            kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
            norm = kind(channels, eps=EXACT_EPS, affine=affine)
            norm.running_mean, norm.running_var = parameters.vector(channels), parameters.variance(channels)
            if affine:
                norm.weight = nn.Parameter(parameters.scale(channels))
                norm.bias = nn.Parameter(parameters.vector(channels))
            return norm
        case d.Affine(by_channel=by_channel):
            count, form = (channels, (-1, *(1,) * (len(shape) - 1))) if by_channel else (1, ())
            return ScaleShift(parameters.scale(count).reshape(form), parameters.vector(count).reshape(form))
        case d.Linear():
            linear = FlatLinear(torch.Size(shape).numel(), layer.channels, layer.bias, device=UNFILLED)
            linear.weight = nn.Parameter(parameters.weight(*linear.weight.shape))
            if layer.bias:
                linear.bias = nn.Parameter(parameters.vector(layer.channels))
            return linear
        case d.Activate(function="prelu"):
            prelu = nn.PReLU(channels)
            prelu.weight = nn.Parameter(parameters.vector(channels))
            return prelu
        case d.LocalResponse():
            return LocalResponse(layer.size, layer.alpha)
        case d.Tap():
            return Record(layer)
        case d.Concat() | d.Sum() | d.Product():
            return Fork(layer, [_path(chain, shape, parameters) for chain in layer.chains()])
    return Function(layer)


def _conv(layer: d.Conv, channels: int, parameters: Parameters) -> nn.Module:
    top, left, bottom, right = layer.padding
    symmetric = (top, left) == (bottom, right) and layer.around == 0
    inner = (top, left) if symmetric else 0
    conv = nn.Conv2d(
        channels,
        layer.channels,
        layer.kernel,
        layer.stride,
        inner,
        layer.dilation,
        layer.groups,
        layer.bias,
        device=UNFILLED,
    )
    conv.weight = nn.Parameter(parameters.weight(*conv.weight.shape))
    if layer.bias:
        conv.bias = nn.Parameter(parameters.vector(layer.channels))
    return conv if symmetric else nn.Sequential(nn.ConstantPad2d((left, right, top, bottom), layer.around), conv)
