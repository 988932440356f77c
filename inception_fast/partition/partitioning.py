"""``optimize`` of a model that is not served as a whole."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite

import torch
from torch import Tensor, fx

from inception_fast.backends import selection
from inception_fast.compilation import make_engine
from inception_fast.errors import InputError
from inception_fast.fast_model import FastModel
from inception_fast.graph.translate import place_of, source_line
from inception_fast.lowering.sensitivity import ALONE, Surroundings
from inception_fast.partition.arguments import Example
from inception_fast.partition.capture import Parts
from inception_fast.partition.partitioned_model import PartitionedModel
from inception_fast.partition.probing import Probe, noises_like
from inception_fast.partition.regions import Region
from inception_fast.partition.report import Foreign, Island, PartitionReport
from inception_fast.partition.rest import assemble
from inception_fast.partition.worth import elements_of
from inception_fast.plan.engine_file import PRECISIONS
from inception_fast.plan.plan import QUANTIZED
from inception_fast.shared_weights import SharedWeights


def partitioned(
    parts: Parts,
    example: Example,
    precision: str,
    backend: str,
    batch_invariant: bool = False,
    accuracy: str = "promise",
    weights: SharedWeights | None = None,
    warns: bool = True,
) -> PartitionedModel:
    """The module of a model's parts, their engines built.

    Args:
        weights: shared with the engines of the same model for other arguments.
        warns: where there are no engines, and none inside of the model either.

    Raises:
        InputError: ``batch_invariant``, which operators of PyTorch's do not promise; or ``int8`` cannot be calibrated
            on what reaches an engine.
        PlanError: ``int8``, and a layer sums more products than 32 bits hold.
    """
    report = describe(parts, precision)
    if batch_invariant:
        first = f", such as {report.foreign[0]}" if report.foreign else ""
        raise InputError(
            "batch_invariant", True, f"False: operators of PyTorch's own, which do not promise it, are between{first}"
        )
    regions = parts.layout.regions
    if not regions and warns and not parts.inner:
        reasons = list(dict.fromkeys(f.reason for f in report.foreign))[:3]
        warnings.warn(
            f"nothing of this model runs on fast kernels, all of it is PyTorch's: {'; '.join(reasons)}", stacklevel=3
        )
    engines = list(_engines(parts, example, precision, backend, accuracy, weights or SharedWeights()))
    rest = assemble(parts.program, parts.layout, parts.constants, parts.returned, engines)
    return PartitionedModel(rest, parts.contract, parts.structure, precision, backend, report, parts.inner)


def _engines(
    parts: Parts, example: Example, precision: str, backend: str, accuracy: str, weights: SharedWeights
) -> Iterator[FastModel]:
    regions = parts.layout.regions
    quantized = PRECISIONS[precision] == QUANTIZED
    reaching: dict[fx.Node, Tensor] = {}
    if quantized and regions:
        calls = Probe(parts.program, parts.constants, example.tensors)
        reaching = calls.values({r.entry for r in regions})
    places: dict[fx.Node, Surroundings] | None = {}
    if regions and accuracy == "promise" and not quantized:
        places = _surroundings(parts, example)
    if places is None:
        places, accuracy = {}, "eager"
        warnings.warn(
            "how much of its engines' rounding reaches what the model returns could not be measured, since it fails "
            "or returns infinities for noise and for the example; the engines are those of accuracy='eager', which are "
            "slower",
            stacklevel=4,
        )
    for index, region in enumerate(regions):
        value = region.entry.meta["val"]
        images = reaching.get(region.entry)
        if images is None:
            images = torch.zeros((1, *map(int, value.shape[1:])), dtype=value.dtype, device=example.device)
        captured = region.capture(parts.constants)
        lowering = selection(backend, example.device, precision).backend.lowering
        place = places.get(region.entry, ALONE)
        engine = make_engine(captured, images, precision, lowering, accuracy=accuracy, place=place)
        yield weights.fast_model(engine, captured.structure, backend, example.device, str(index))


def _surroundings(parts: Parts, example: Example) -> dict[fx.Node, Surroundings] | None:
    """What reaches each region and what becomes of its errors, by its entry; None where nobody can tell, since the
    model fails or makes infinities of what is not its user's own.
    """
    regions = parts.layout.regions
    one = [
        t[:1] if s.shape and isinstance(s.shape[0], str) else t
        for t, s in zip(example.tensors, parts.contract.tensors, strict=True)
    ]
    runs = [run for noise in noises_like(one) if (run := _run(parts, noise))]
    if not runs and (own := _run(parts, one)):
        runs = [own]
    if not runs:
        return None
    share = len(regions) ** 0.5
    return {
        region.entry: Surroundings(
            tuple(image for reaching, _ in runs for image in _images(region, reaching)),
            max(1.0, *(grows[i] for _, grows in runs)) * share,
        )
        for i, region in enumerate(regions)
    }


def _run(parts: Parts, tensors: Sequence[Tensor]) -> tuple[dict[fx.Node, Tensor], list[float]] | None:
    """What reaches each region, by its entry, and by how much their errors grow; None where the model fails or makes
    infinities.
    """
    regions = parts.layout.regions
    probe = Probe(parts.program, parts.constants, tensors)
    try:
        reaching = probe.values({r.entry for r in regions})
        grows = probe.amplifications(regions, parts.returned)
    except (RuntimeError, ValueError, IndexError, AssertionError):
        return None
    if all(map(isfinite, grows)) and all(bool(t.isfinite().all()) for t in reaching.values()):
        return reaching, grows
    return None


def _images(region: Region, reaching: Mapping[fx.Node, Tensor]) -> tuple[Tensor, ...]:
    """What to measure a region with; none where its images are the caller's own."""
    return () if region.entry.op == "placeholder" else (reaching[region.entry][:1].detach().cpu().float(),)


def describe(parts: Parts, precision: str) -> PartitionReport:
    """What runs where, before anything is built."""
    islands = tuple(_island(f"island{i}", region) for i, region in enumerate(parts.layout.regions))
    foreign = tuple(_foreign(parts, node) for node in parts.layout.foreign)
    open_sizes = sorted({s for spec in parts.contract.tensors for s in spec.shape if isinstance(s, str)})
    batch = (
        f"any {' and '.join(open_sizes)} in {_shapes(parts)}" if open_sizes else f"{_shapes(parts)} and no other sizes"
    )
    return PartitionReport(precision, batch, islands, foreign)


def _shapes(parts: Parts) -> str:
    return ", ".join(map(str, parts.contract.tensors))


def _island(name: str, region: Region) -> Island:
    layers = [n for n in region.members if n.meta.get("nn_module_stack")]
    paths = [place_of(n).origin for n in layers] or [""]
    shape = region.entry.meta["val"].shape
    source = f"{region.entry.name} [{', '.join(['N', *map(str, shape[1:])])}]"
    work = region.work
    return Island(name, (paths[0], paths[-1]), source, work.operators, work.convolutions, work.multiply_adds)


def _foreign(parts: Parts, node: fx.Node) -> Foreign:
    elements = elements_of(node) + sum(elements_of(n) for n in node.all_input_nodes)
    inside = "it only sees what an engine has computed in another way"
    reason = parts.found.reasons.get(node, inside)
    return Foreign(str(node.target), place_of(node).origin, source_line(node), elements, reason)
