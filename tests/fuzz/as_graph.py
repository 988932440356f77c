"""The Graph of a description, made without ``torch.export``, which takes a hundred times as long as to run it.

Nodes are emitted layer by layer with the parameters of the module, which stays the truth: where this and capture
disagree with it, a test fails.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inception_fast.activation import Activation
from inception_fast.graph import ir
from inception_fast.graph.shapes import infer_shape
from tests.fuzz import description as d
from tests.fuzz.module import FlatLinear, Net, Path, ScaleShift


def as_graph(network: d.Network, net: nn.Module) -> ir.Graph:
    """What capturing ``net``, the module of ``network``, should give, but for names and order."""
    assert isinstance(net, Net)
    emitter = _Emitter(network.image, network.bytes)
    scale, shift = torch.tensor([1 / 128]), torch.zeros(1)
    last = emitter.chain(network.layers, net.body, emitter.affine("x", scale, shift) if network.bytes else "x")
    outputs = [emitter.own(value) for value in [*emitter.taps, last]]
    return ir.Graph(tuple(emitter.nodes), tuple(outputs), emitter.params)


class _Emitter:
    """Nodes so far; methods return the name of the value that they define."""

    def __init__(self, image: tuple[int, int, int], of_bytes: bool = False) -> None:
        self.nodes = [ir.Node("x", ir.Input(image, of_bytes), ())]
        self.params: dict[str, Tensor] = {}
        self.shapes: dict[str, ir.Shape] = {"x": image}
        self.taps: list[str] = []

    def emit(self, op: ir.Op, *inputs: str) -> str:
        name = f"{op.kind.lower()}{len(self.nodes)}"
        self.nodes.append(ir.Node(name, op, inputs, f"net.{name}"))
        self.shapes[name] = infer_shape(op, [self.shapes[i] for i in inputs], self.params)
        return name

    def param(self, tensor: Tensor | None) -> str:
        assert tensor is not None
        name = f"p{len(self.params)}"
        self.params[name] = tensor.detach().clone()
        return name

    def optional(self, tensor: Tensor | None) -> str | None:
        return None if tensor is None else self.param(tensor)

    def affine(self, x: str, scale: Tensor, shift: Tensor) -> str:
        channels = self.shapes[x][0]
        scale, shift = (v.detach().reshape(-1).expand(channels).contiguous() for v in (scale, shift))
        return self.emit(ir.Affine(self.param(scale), self.param(shift)), x)

    def flat(self, x: str) -> str:
        return x if len(self.shapes[x]) == 1 else self.emit(ir.Flatten(), x)

    def own(self, value: str) -> str:
        """Copied where it is the input, which is the caller's."""
        return self.emit(ir.Copy(), value) if value == "x" else value

    def chain(self, chain: d.Chain, path: nn.Module, x: str) -> str:
        assert isinstance(path, Path)
        for layer, step in zip(chain, path.steps, strict=True):
            x = self.layer(layer, step, x)
        return x

    def convolution(self, layer: d.Conv, conv: nn.Conv2d, x: str) -> str:
        padding = layer.padding
        if layer.around:
            x, padding = self.emit(ir.Pad(padding, layer.around), x), (0, 0, 0, 0)
        channels, window = self.shapes[x][0], (layer.stride, padding, layer.dilation)
        if 1 < layer.groups == channels == layer.channels:
            return self.emit(ir.DepthwiseConv2d(self.param(conv.weight), self.optional(conv.bias), *window), x)
        parts, inside = [], channels // layer.groups
        biases = [None] * layer.groups if conv.bias is None else conv.bias.chunk(layer.groups)
        for group, (weight, bias) in enumerate(zip(conv.weight.chunk(layer.groups), biases, strict=True)):
            source = x if layer.groups == 1 else self.emit(ir.Slice(group * inside, inside), x)
            op = ir.Conv2d(self.param(weight), self.optional(bias), *window, (ir.Segment(len(weight)),))
            parts.append(self.emit(op, source))
        return parts[0] if len(parts) == 1 else self.emit(ir.Concat(), *parts)

    def layer(self, layer: d.Layer, step: nn.Module, x: str) -> str:
        channels, plane = self.shapes[x][0], self.shapes[x][1:]
        match layer:
            case d.Conv():
                conv = list(step)[-1] if isinstance(step, nn.Sequential) else step
                assert isinstance(conv, nn.Conv2d)
                return self.convolution(layer, conv, x)
            case d.Norm():
                assert isinstance(step, nn.BatchNorm1d | nn.BatchNorm2d)
                mean, var = self.param(step.running_mean), self.param(step.running_var)
                op = ir.BatchNorm(mean, var, self.optional(step.weight), self.optional(step.bias), step.eps)
                return self.emit(op, x)
            case d.Relu():
                return self.emit(ir.ReLU(), x)
            case d.Activate():
                slope = self.param(step.weight) if isinstance(step, nn.PReLU) else None
                return self.emit(ir.Activate(Activation(layer.function, layer.alpha, layer.beta, slope)), x)
            case d.Softmax():
                return self.emit(ir.Softmax(layer.log), x)
            case d.LocalResponse():
                assert isinstance(step, nn.LocalResponseNorm)
                return self.emit(ir.LocalResponseNorm(step.size, step.alpha, step.beta, step.k), x)
            case d.Affine():
                assert isinstance(step, ScaleShift)
                return self.affine(x, step.scale, step.shift)
            case d.Dropout():
                return x
            case d.Pool(mode="max"):
                return self.emit(ir.MaxPool(layer.kernel, layer.stride, layer.padding, (1, 1), layer.ceil), x)
            case d.Pool():
                op = ir.AvgPool(layer.kernel, layer.stride, layer.padding, layer.ceil, layer.count_pad)
                return self.emit(op, x)
            case d.GlobalPool(kind="max"):
                assert len(plane) == 2
                return self.emit(ir.MaxPool(plane, plane, (0, 0)), x)
            case d.GlobalPool(kind=kind):
                pooled = self.emit(ir.AdaptiveAvgPool((1, 1)), x)
                return self.flat(pooled) if kind == "mean" else pooled
            case d.AdaptivePool():
                kind = ir.AdaptiveMaxPool if layer.mode == "max" else ir.AdaptiveAvgPool
                return self.emit(kind(layer.size), x)
            case d.Resize():
                return self.emit(ir.Resize(layer.size, layer.align), x)
            case d.Flat():
                return self.flat(x)
            case d.Linear():
                assert isinstance(step, FlatLinear)
                op = ir.Linear(self.param(step.weight), self.optional(step.bias))
                return self.emit(op, self.flat(x))
            case d.Unit():
                return self.emit(ir.Normalize(1e-12), x)
            case d.Narrow():
                everything = (layer.start, layer.channels) == (0, channels)
                return x if everything else self.emit(ir.Slice(layer.start, layer.channels), x)
            case d.Tap():
                self.taps.append(self.flat(x) if layer.flat else x)
                return x
            case d.Concat():
                values = [self.chain(chain, path, x) for chain, path in zip(layer.paths, step.paths, strict=True)]  # type: ignore[arg-type]
                return values[0] if len(values) == 1 else self.emit(ir.Concat(), *values)
            case d.Product() | d.Sum():
                left, right = (self.chain(c, p, x) for c, p in zip(layer.chains(), step.paths, strict=True))  # type: ignore[arg-type]
                if isinstance(layer, d.Product):
                    return self.emit(ir.Gate(), left, right)
                if layer.scale != 1:
                    right = self.affine(right, torch.tensor([layer.scale], dtype=torch.float64), torch.zeros(1))
                return self.emit(ir.Add(), left, right)
        raise NotImplementedError(layer)
