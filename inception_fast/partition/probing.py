"""What reaches the engines of a partitioned model, and what their errors become behind them: by running the program."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import inf, isfinite
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from inception_fast.graph.builder import Const
from inception_fast.partition.regions import Region

NUDGE = 1e-3
"""Relative size of the change by which an amplification is measured: linear, and far above rounding in float32."""


class Probe:
    """One run of an exported program with PyTorch's operators.

    Args:
        tensors: the arguments' tensors in order.
    """

    def __init__(self, program: ExportedProgram, constants: Mapping[str, Const], tensors: Sequence[Tensor]) -> None:
        self._module = program.graph_module
        given = iter(tensors)
        self._arguments: list[Any] = []
        for node in self._module.graph.find_nodes(op="placeholder"):
            if node.name in constants:
                self._arguments.append(constants[node.name].tensor)
            else:
                value = node.meta.get("val")
                self._arguments.append(next(given) if isinstance(value, Tensor) else value)

    def values(self, nodes: Collection[fx.Node]) -> dict[fx.Node, Any]:
        """What the nodes are."""
        seen: dict[fx.Node, Any] = {}

        def look(node: fx.Node, value: Any) -> Any:
            if node in nodes:
                seen[node] = value
            return value

        self._run(look)
        return seen

    def amplifications(self, regions: Sequence[Region], returned: Collection[fx.Node]) -> list[float]:
        """By how much a relative error of all outputs of each region grows on the way to what the model returns;
        infinite where that is not finite.
        """
        before = self.values(returned)
        return [self._amplification(region, before) for region in regions]

    def _amplification(self, region: Region, before: Mapping[fx.Node, Any]) -> float:
        generator, outputs = torch.Generator().manual_seed(0), set(region.outputs)
        ratios: list[float] = []

        def look(node: fx.Node, value: Any) -> Any:
            if node in outputs:
                noise = torch.randn(value.shape, generator=generator, dtype=torch.float32, device="cpu").to(value)
                value = value + noise * (NUDGE * value.norm() / noise.norm())
            true = before.get(node)
            if isinstance(true, Tensor) and true.is_floating_point() and true.any():
                ratios.append(((value - true).norm() / true.norm()).item() / NUDGE)
            return value

        self._run(look)
        return max(ratios, default=0.0) if all(map(isfinite, ratios)) else inf

    def _run(self, look: Callable[[fx.Node, Any], Any]) -> None:
        # PyTorch keeps by thread what a caller's trace, transform or mode has under way.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(self._interpret, look).result()

    def _interpret(self, look: Callable[[fx.Node, Any], Any]) -> None:
        with torch.no_grad():
            _Interpreter(self._module, look).run(*self._arguments)


class _Interpreter(fx.Interpreter):
    def __init__(self, module: fx.GraphModule, look: Callable[[fx.Node, Any], Any]) -> None:
        super().__init__(module)
        self._look = look

    def run_node(self, n: fx.Node) -> Any:
        return self._look(n, super().run_node(n))


def noises_like(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Arguments to measure with, the same each time: uniform noise, and normal noise as normalised images are, in the
    place of images, others as they are.
    """
    return [_noise_like(tensors, draw) for draw in (torch.rand, torch.randn)]


def _noise_like(tensors: Sequence[Tensor], draw: Callable[..., Tensor]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for x in tensors:
        if x.is_floating_point() and x.dim() >= 2:
            x = draw(x.shape, generator=generator, dtype=torch.float32, device="cpu").to(x)
        elif x.dtype is torch.uint8 and x.dim() >= 3:
            x = torch.randint(0, 256, x.shape, generator=generator, dtype=torch.uint8, device="cpu").to(x.device)
        made.append(x)
    return made
