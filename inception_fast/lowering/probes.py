"""Images to measure a network on, made from the Graph alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import exp, inf

import torch
import torch.nn.functional as F

from inception_fast.graph import ir
from inception_fast.graph.interpreter import interpret
from inception_fast.graph.rewrite import rebuild

FAR = 1.5
"""Root mean square of what normalisations miss; images like those of a network have about 0.5."""
STEPS = 5
STEP = 0.1
"""Of the images' spread, for differences."""
MOST_GROWTH = 20.0
"""Of a step, as a logarithm."""


def probes(graph: ir.Graph) -> Iterator[torch.Tensor]:
    """Images ``[1, C, H, W]`` to measure on, the same each time: a smooth one, as normalised photographs are, and
    normal noise, both behind the input's own normalisation; uniform noise; and the smooth one as large and as far from
    zero as the first batch normalisations tell, where that is another image altogether.
    """
    assert isinstance(graph.input.op, ir.Input)
    channels, height, width = graph.input.op.shape
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(
        1, channels, height // 16 + 2, width // 16 + 2, generator=generator, dtype=torch.float32, device="cpu"
    )
    smooth = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)
    noise = torch.randn(smooth.shape, generator=generator, dtype=torch.float32, device="cpu")
    smooth = _unnormalised(graph, smooth + 0.25 * noise)
    yield smooth
    yield _unnormalised(graph, noise)
    yield torch.rand(smooth.shape, generator=generator, dtype=torch.float32, device="cpu")
    told = _as_told(graph, smooth)
    if told is not None:
        yield told


def _unnormalised(graph: ir.Graph, x: torch.Tensor) -> torch.Tensor:
    """What the affine steps in front of everything else turn into ``x``."""
    steps: list[ir.Affine] = []
    value = graph.input.name
    while len(readers := graph.consumers[value]) == 1:
        op = readers[0].op
        if not isinstance(op, ir.Affine) or not op.is_linear:
            break
        steps.append(op)
        value = readers[0].name
    for op in reversed(steps):
        scale, shift = (graph.params[name].detach().float().view(1, -1, 1, 1) for name in (op.scale, op.shift))
        x = ((x - shift) / scale).nan_to_num(0.0, 0.0, 0.0)
    return x


def _as_told(graph: ir.Graph, x: torch.Tensor) -> torch.Tensor | None:
    """``x`` scaled, and its channels shifted, until the first normalisations find their own statistics, by
    Newton's method; None where they nearly do as it is, or nothing is found.
    """
    norms = _first_normalisations(graph)
    if not norms:
        return None
    ends = tuple(node.inputs[0] for node in norms)
    start = rebuild(ir.Graph(graph.nodes, ends, graph.params), graph.nodes)
    spread = max(x.std().item(), torch.finfo(torch.float32).tiny) if x.numel() > 1 else 1.0

    centre = x.double().mean((2, 3), keepdim=True)

    def image(means: torch.Tensor, growth: float) -> torch.Tensor:
        return centre + means.view(1, -1, 1, 1) + exp(growth) * (x - centre)

    def misses(means: torch.Tensor, growth: float) -> tuple[torch.Tensor, torch.Tensor]:
        values = interpret(start, image(means, growth))
        pairs = [_misses(node, value, graph.params) for node, value in zip(norms, values, strict=True)]
        of_means, of_spreads = zip(*pairs, strict=True)
        return torch.cat(of_means), torch.cat(of_spreads)

    means, growth, found = torch.zeros(x.shape[1], dtype=torch.float64, device="cpu"), 0.0, False
    now = misses(means, growth)
    if not FAR < _size(now) < inf:
        return None
    for _ in range(STEPS):
        step = STEP * spread * exp(growth)
        moved = [
            misses(means + step * unit, growth)[0] for unit in torch.eye(len(means), dtype=torch.float64, device="cpu")
        ]
        slopes = (torch.stack(moved, 1) - now[0].unsqueeze(1)) / step
        if not slopes.isfinite().all():
            break
        # Spreads are in proportion to the images', about.
        next_means = means - torch.linalg.pinv(slopes, rtol=1e-2) @ now[0]
        next_growth = growth - (now[1].median().clamp(-MOST_GROWTH, MOST_GROWTH).item() if len(now[1]) else 0.0)
        after = misses(next_means, next_growth)
        if not _size(after) < 0.9 * _size(now):
            break
        means, growth, now, found = next_means, next_growth, after, True
    return image(means, growth).float() if found else None


def _size(misses: tuple[torch.Tensor, torch.Tensor]) -> float:
    """Root mean square."""
    return torch.cat(misses).square().mean().sqrt().item()


def _first_normalisations(graph: ir.Graph) -> list[ir.Node]:
    """Those that no other normalises for."""
    behind: set[str] = set()
    first = []
    for node in graph.nodes:
        if behind.intersection(node.inputs):
            behind.add(node.name)
        elif isinstance(node.op, ir.BatchNorm):
            behind.add(node.name)
            first.append(node)
    return first


def _misses(
    node: ir.Node, value: torch.Tensor, params: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """How far the means ``[C]`` of a value are from a normalisation's, in its deviations; the logarithm of its
    deviations over those, of an image.
    """
    assert isinstance(node.op, ir.BatchNorm)
    mean, deviation = params[node.op.mean].double(), (params[node.op.var].double() + node.op.eps).sqrt()
    pixels = value.flatten(2) if value.dim() > 2 else value.unsqueeze(2)
    means = (pixels.mean((0, 2)) - mean) / deviation
    if pixels.shape[2] < 2:
        return means, means[:0]
    spreads = pixels.var((0, 2), correction=0) + node.op.eps
    return means, (spreads.sqrt() / deviation).log()
