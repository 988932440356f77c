"""Small graphs by hand, with random parameters."""

from __future__ import annotations

import torch

from inception_fast.graph import ir


class Build:
    """Appends nodes; every method returns the name of the value it defines.

    Parameters are float32 as captured ones are, drawn so that signs are mixed and no channel is trivial.
    """

    def __init__(self, *shape: int, seed: int = 0, of_bytes: bool = False) -> None:
        self.nodes = [ir.Node("x", ir.Input(shape, of_bytes), ())]
        self.params: dict[str, torch.Tensor] = {}
        self.generator = torch.Generator().manual_seed(seed)

    def node(self, op: ir.Op, *inputs: str, name: str = "") -> str:
        name = name or f"{op.kind.lower()}{len(self.nodes)}"
        self.nodes.append(ir.Node(name, op, inputs, f"net.{name}"))
        return name

    def param(self, *shape: int, low: float = -1.0, high: float = 1.0) -> str:
        name = f"p{len(self.params)}"
        self.params[name] = torch.empty(shape).uniform_(low, high, generator=self.generator)
        return name

    def channels(self, value: str) -> int:
        return self.graph(value).shapes[value][0]

    def conv(
        self,
        x: str,
        channels: int | tuple[int, ...],
        kernel: tuple[int, int] = (1, 1),
        *,
        bias: bool = False,
        relu: bool = False,
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int, int, int] | None = None,
        dilation: tuple[int, int] = (1, 1),
        residual: str | None = None,
        name: str = "",
    ) -> str:
        """A convolution; ``padding`` None keeps the size, ``channels`` may list several segments."""
        widths = channels if isinstance(channels, tuple) else (channels,)
        if padding is None:
            (top, bottom), (left, right) = ((d * (k - 1) // 2,) * 2 for k, d in zip(kernel, dilation, strict=True))
            padding = (top, left, bottom, right)
        weight = self.param(sum(widths), self.channels(x), *kernel)
        offset = self.param(sum(widths)) if bias else None
        segments = tuple(ir.Segment(w, relu) for w in widths)
        op = ir.Conv2d(weight, offset, stride, padding, dilation, segments)
        return self.node(op, x, *([residual] if residual else []), name=name)

    def batchnorm(self, x: str, *, affine: bool = True, eps: float = 1e-3, name: str = "") -> str:
        c = self.channels(x)
        mean, var = self.param(c), self.param(c, low=0.1, high=2.0)
        weight, bias = (self.param(c), self.param(c)) if affine else (None, None)
        return self.node(ir.BatchNorm(mean, var, weight, bias, eps), x, name=name)

    def affine(self, x: str, *, relu: bool = False, scale: float = 1.0, name: str = "") -> str:
        c = self.channels(x)
        return self.node(ir.Affine(self.param(c, low=-scale, high=scale), self.param(c), relu), x, name=name)

    def linear(self, x: str, features: int, *, bias: bool = True, name: str = "") -> str:
        weight = self.param(features, self.channels(x))
        return self.node(ir.Linear(weight, self.param(features) if bias else None), x, name=name)

    def relu(self, x: str, name: str = "") -> str:
        return self.node(ir.ReLU(), x, name=name)

    def add(self, a: str, b: str, *, relu: bool = False, name: str = "") -> str:
        return self.node(ir.Add(relu), a, b, name=name)

    def concat(self, *values: str, name: str = "") -> str:
        return self.node(ir.Concat(), *values, name=name)

    def slice(self, x: str, start: int, channels: int, name: str = "") -> str:
        return self.node(ir.Slice(start, channels), x, name=name)

    def maxpool(self, x: str, name: str = "") -> str:
        return self.node(ir.MaxPool((3, 3), (1, 1), (1, 1)), x, name=name)

    def avgpool(self, x: str, *, include_pad: bool = True, name: str = "") -> str:
        return self.node(ir.AvgPool((3, 3), (1, 1), (1, 1), count_include_pad=include_pad), x, name=name)

    def flat(self, x: str) -> str:
        """The value averaged over the image, ``(C,)``."""
        return self.node(ir.Flatten(), self.node(ir.AdaptiveAvgPool((1, 1)), x))

    def graph(self, *outputs: str) -> ir.Graph:
        return ir.Graph(tuple(self.nodes), outputs or (self.nodes[-1].name,), dict(self.params))
