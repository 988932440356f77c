"""How much of the error that a network may have each convolution's rounding uses up.

Rounding is modelled as noise at every value, of a size that is known. Noise goes to the outputs through a linear map,
so what arrives there follows from products of its transpose with random vectors (Hutchinson, "A stochastic estimator of
the trace of the influence matrix", 1990): a few backward passes give it for all values at once. The same model says
what PyTorch's own operators lose; algorithms may add as much as that, or FLOOR.

The images are made here, from the Graph alone, so that the result is a function of the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import sqrt

import torch
import torch.nn.functional as F

from inception_fast.errors import InputError
from inception_fast.graph import ir
from inception_fast.graph.interpreter import activated_segments, apply_op
from inception_fast.lowering.probes import probes
from inception_fast.plan.plan import MOST_SENSITIVE, Sensitivity
from inception_fast.tensors import digest

VECTORS = 2
"""Random ones for each image, which the outputs share out."""
ROUNDING = 0.41
"""Root mean square of a rounded number's relative error, in halves of the dtype's epsilon."""
SUM_ROUNDING = 0.21 * torch.finfo(torch.float32).eps / 2
"""Relative error of a float32 sum of K products over sqrt(K); ``benchmarks/winograd_error.py`` shows it."""
FLOOR = {torch.float32: 6e-6}
"""Relative L2 that may be added in any case: of the 1e-5 that float32 may always have."""
RECTIFIED_NOISE = 0.68
"""Half the mean square of the difference of two rectified normal numbers, over one's mean square."""
LEAST_VARIATION = 0.03
MOST_SIDE = 192
"""Pixels along an axis. In place of larger images a smaller one is measured, where the network takes it: noise averages
out over fewer pixels there, so the result errs on the safe side; a pass over a large one takes gigabytes; and one
measurement does for all large sizes. In none of the six reference networks does an algorithm change by it.
"""
MeasuredBefore = dict[bytes, dict[str, Sensitivity]]
"""By a digest of everything that decides them."""
EXACT = (ir.Input, ir.ReLU, ir.Concat, ir.Copy, ir.Slice, ir.Select, ir.MaxPool, ir.AdaptiveMaxPool, ir.Flatten)
"""Operators that round nothing."""


@dataclass(frozen=True)
class _Rounded:
    """A value that an operator rounded."""

    name: str
    value: torch.Tensor


@dataclass(frozen=True)
class _Convolved(_Rounded):
    """The value of a convolution of ``source``."""

    op: ir.Conv2d
    source: torch.Tensor
    weight: torch.Tensor

    def sums(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Squares of the noise at each output channel's sums, as large as the terms are together: of what varies in the
        source, and of all of it.
        """
        squares = torch.linalg.vector_norm(self.weight.detach(), dim=(2, 3)).double().square()
        top, left, bottom, right = self.op.padding
        padded = F.pad(self.source.detach(), (left, right, top, bottom))
        return squares @ _variation(padded), squares @ _energy(padded)

    def steady(self, gradient: torch.Tensor) -> float:
        """Square of what wrong weights make of the source's means, by the gradient of the sums: the same error at every
        pixel, which no pool averages out.
        """
        squares = torch.linalg.vector_norm(self.weight.detach(), dim=(2, 3)).double().square()
        means = self.source.detach().mean((0, 2, 3)).double().square()
        return (gradient.sum((0, 2, 3)).double().square() @ (squares @ means)).item()

    def before_relu(self, gradient: torch.Tensor) -> torch.Tensor:
        """The gradient of the sums, from that of the value."""
        relus = torch.tensor([s.relu for s in self.op.segments for _ in range(s.channels)], device="cpu")
        return gradient.masked_fill((self.value == 0) & relus.view(1, -1, 1, 1), 0.0)


@dataclass(frozen=True)
class _Noise:
    """Squares of relative errors of the outputs, one for each.

    Attributes:
        of_sums, of_weights: by the name of the convolution whose sums, or weights, are wrong by as much as they are
            large.
        direct: from float32 sums of the products of all convolutions.
    """

    of_sums: dict[str, list[float]]
    of_weights: dict[str, list[float]]
    direct: list[float]


def convolution_names(graph: ir.Graph) -> list[str]:
    """Of the convolutions that may have a sensitivity, as lowering names them."""
    names = []
    for node in graph.nodes:
        if isinstance(node.op, ir.Conv2d):
            names.append(node.name)
        elif isinstance(node.op, ir.ConvPair):
            names += [f"{node.name}.first", f"{node.name}.second"]
    return names


@dataclass(frozen=True)
class Surroundings:
    """Where a network is that is part of another.

    Attributes:
        images: ``[1, C, H, W]`` each, like those that reach it; made here where there are none.
        amplification: of a relative error of its outputs by what follows them.
    """

    images: tuple[torch.Tensor, ...] = ()
    amplification: float = 1.0


ALONE = Surroundings()


def sensitivities(
    original: ir.Graph,
    prepared: ir.Graph,
    dtype: torch.dtype,
    known: MeasuredBefore | None = None,
    place: Surroundings = ALONE,
) -> dict[str, Sensitivity]:
    """What the convolutions of a Plan get as their ``sensitivity``, by the names that lowering gives to them.

    Args:
        original: as it was captured.
        prepared: the same network as it is lowered.
        dtype: that both run in.
        known: where to look for a measurement of the same network before it is made, and to leave it; of a network
            that is alone.
    """
    # PyTorch keeps by thread what a caller's trace, transform or mode has under way.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_measured, original, prepared, dtype, known, place).result()


def measured_size(height: int, width: int) -> tuple[int, int]:
    """Of the images that are measured in place of some, where the network takes them."""
    return min(height, MOST_SIDE), min(width, MOST_SIDE)


def _measured(
    original: ir.Graph, prepared: ir.Graph, dtype: torch.dtype, known: MeasuredBefore | None, place: Surroundings
) -> dict[str, Sensitivity]:
    assert isinstance(original.input.op, ir.Input)
    actual = original.input.op.shape[1:]
    size = measured_size(*actual)
    if size != actual:
        try:
            parts = tuple(x[:, :, : size[0], : size[1]] for x in place.images)
            smaller = replace(place, images=parts) if parts else place
            return _once(original.at(*size), prepared.at(*size), dtype, known, smaller)
        except (RuntimeError, InputError):
            # Something in it, such as a linear layer over the pixels, wants this very size.
            pass
    return _once(original, prepared, dtype, known, place)


def _once(
    original: ir.Graph, prepared: ir.Graph, dtype: torch.dtype, known: MeasuredBefore | None, place: Surroundings
) -> dict[str, Sensitivity]:
    if known is None or place is not ALONE:
        return _sensitivities(original, prepared, dtype, place)
    # Passes make the parameters of the one graph from those of the other.
    key = digest((original.nodes, original.outputs, prepared.nodes, prepared.outputs, dtype), original.params)
    if key not in known:
        known[key] = _sensitivities(original, prepared, dtype, place)
    return known[key]


def _sensitivities(
    original: ir.Graph, prepared: ir.Graph, dtype: torch.dtype, place: Surroundings
) -> dict[str, Sensitivity]:
    largest = {name: Sensitivity(0.0, 0.0) for name in convolution_names(prepared)}
    if not largest:
        return {}
    half = dtype != torch.float32
    # What eager rounds is amplified behind the network as well.
    floor = (FLOOR.get(dtype, 0.0) / place.amplification) ** 2
    with torch.enable_grad():
        for x in place.images or probes(original):
            noise = _noise(prepared, x, of_weights=half)
            # In float32 the sums are nearly everything that eager rounds.
            eager = _eager_errors(original, x, dtype) if half else noise.direct
            budgets = [max(e, floor) for e in eager]
            for name, before in largest.items():
                sums = _largest_ratio(noise.of_sums[name], budgets)
                weights = _largest_ratio(noise.of_weights[name], budgets)
                largest[name] = Sensitivity(max(before.noise, sums), max(before.weights, weights))
    return largest


def _largest_ratio(squares: list[float], budgets: list[float]) -> float:
    """Root of the largest; of a NaN, from a network that makes infinities, what leaves room for nothing."""
    ratios = [s / b if b else 0.0 for s, b in zip(squares, budgets, strict=True)]
    return max(sqrt(r) if r < MOST_SENSITIVE**2 else MOST_SENSITIVE for r in ratios)


def _eager_errors(graph: ir.Graph, x: torch.Tensor, dtype: torch.dtype) -> list[float]:
    """Squares of the relative errors that one operator after the other has in half precision, by output."""
    unit = (ROUNDING * torch.finfo(dtype).eps / 2) ** 2
    outputs, sites = _run(graph, x)
    convs = [site for site in sites if isinstance(site, _Convolved)]
    errors = []
    for output, vectors, factor in _products(outputs):
        total = 0.0
        for vector in vectors:
            tensors = [*(site.value for site in sites), *(conv.weight for conv in convs)]
            gradients = _gradients(output, tensors, vector)
            total += sum(_square(t, g) for t, g in zip(tensors, gradients, strict=True))
        errors.append(unit * factor * total)
    return errors


def _noise(graph: ir.Graph, x: torch.Tensor, of_weights: bool) -> _Noise:
    """What noise at every convolution does to the outputs of a graph in float32; that of weights where asked for."""
    outputs, sites = _run(graph, x)
    convs = [site for site in sites if isinstance(site, _Convolved)]
    noise = _Noise({c.name: [] for c in convs}, {c.name: [] for c in convs}, [])
    weights, sizes = [c.weight for c in convs] if of_weights else [], [c.sums() for c in convs]
    for output, vectors, factor in _products(outputs):
        sums, rounded, direct = [0.0] * len(convs), [0.0] * len(convs), 0.0
        for vector in vectors:
            gradients = _gradients(output, [*(c.value for c in convs), *weights], vector)
            for i, conv in enumerate(convs):
                gradient = conv.before_relu(gradients[i])
                arriving = factor * _squares(gradient)
                varied, summed = sizes[i]
                sums[i] += (varied @ arriving).item()
                direct += SUM_ROUNDING**2 * conv.weight[0].numel() * (summed @ arriving).item()
                if not of_weights:
                    rounded[i] += factor * conv.steady(gradient)
            for i, weight in enumerate(weights):
                rounded[i] += factor * _square(weight, gradients[len(convs) + i])
        for i, conv in enumerate(convs):
            noise.of_sums[conv.name].append(sums[i])
            noise.of_weights[conv.name].append(rounded[i])
        noise.direct.append(direct)
    return noise


def _energy(x: torch.Tensor) -> torch.Tensor:
    """Mean square of each channel."""
    return _squares(x) / (x.numel() // x.shape[1])


def _squares(x: torch.Tensor) -> torch.Tensor:
    """Their sum in each channel, float64."""
    return torch.linalg.vector_norm(x.detach(), dim=(0, 2, 3)).double().square()


def _variation(x: torch.Tensor) -> torch.Tensor:
    """What is left of :func:`_energy` where neighbours are alike, for Winograd's transforms take differences of them:
    all of it in rectified white noise, on which their error was measured.
    """
    energy = _energy(x)
    differences = [_energy(d) / 2 for d in (x.detach().diff(dim=2), x.detach().diff(dim=3)) if d.numel()]
    if not differences:
        return energy
    return (torch.stack(differences).mean(0) / RECTIFIED_NOISE).clamp(energy * LEAST_VARIATION, energy)


def _square(values: torch.Tensor, gradients: torch.Tensor) -> float:
    """Square of what noise as large as each of some values makes."""
    return torch.linalg.vector_norm(values.detach() * gradients).double().square().item()


def _run(graph: ir.Graph, x: torch.Tensor) -> tuple[list[torch.Tensor], list[_Rounded]]:
    """The outputs, and every value on the way that is rounded, in float32, which is enough for two digits."""
    # Copies, for the parameters may have been made in inference mode.
    params = {k: torch.empty_like(v, dtype=torch.float32).copy_(v.detach()) for k, v in graph.params.items()}
    values = {graph.input.name: x.detach().requires_grad_()}
    sites: list[_Rounded] = []

    def compute(name: str, op: ir.Operation, inputs: list[torch.Tensor]) -> torch.Tensor:
        if isinstance(op, ir.Conv2d):
            params[op.weight].requires_grad_()
            # The sums themselves, of which a ReLU's value tells enough, and another function's does not.
            bare = replace(op, segments=tuple(replace(s, activation=None) for s in op.segments))
            value = apply_op(bare, inputs, params)
            sites.append(_Convolved(name, value, op, inputs[0], params[op.weight]))
            return activated_segments(value, op, params) if any(s.activation for s in op.segments) else value
        value = apply_op(op, inputs, params)
        if not isinstance(op, EXACT):
            sites.append(_Rounded(name, value))
        return value

    for node in graph.nodes[1:]:
        inputs = [values[i] for i in node.inputs]
        if isinstance(node.op, ir.ConvPair):
            inputs[0] = compute(f"{node.name}.first", node.op.first, inputs[:1])
            values[node.name] = compute(f"{node.name}.second", node.op.second, inputs)
        else:
            values[node.name] = compute(node.name, node.op, inputs)
    return [values[name] for name in graph.outputs], sites


def _products(outputs: list[torch.Tensor]) -> Iterator[tuple[torch.Tensor, list[torch.Tensor], float]]:
    """For each output, what to multiply its Jacobian's transpose by, and the factor that turns the sum of the products'
    squares into the square of a relative error.
    """
    generator = torch.Generator().manual_seed(1)
    count = max(1, VECTORS // len(outputs))
    for output in outputs:
        size = output.detach().double().square().sum().item()
        if not size:
            # Of nothing but zeros there is no relative error.
            yield output, [], 0.0
        elif output.numel() <= count:
            yield (
                output,
                list(torch.eye(output.numel(), dtype=torch.float32, device="cpu").view(-1, *output.shape)),
                1 / size,
            )
        else:
            yield (
                output,
                list(torch.randn(count, *output.shape, generator=generator, dtype=torch.float32, device="cpu")),
                1 / (count * size),
            )


def _gradients(output: torch.Tensor, tensors: list[torch.Tensor], vector: torch.Tensor) -> tuple[torch.Tensor, ...]:
    if not output.requires_grad:
        return tuple(map(torch.zeros_like, tensors))
    return torch.autograd.grad(output, tensors, vector, retain_graph=True, materialize_grads=True)
