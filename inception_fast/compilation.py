"""From a captured network to an engine: passes, the measure of its rounding, lowering."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch

from inception_fast.backends import Lowering, selection
from inception_fast.errors import InputError
from inception_fast.fast_model import FastModel
from inception_fast.graph.capture import Captured
from inception_fast.graph.ir import Graph, Input
from inception_fast.graph.metrics import Metrics, measure
from inception_fast.graph.passes import optimize_graph, report_passes, run_passes
from inception_fast.graph.report import PassReport
from inception_fast.lowering.lower import lower, lowered
from inception_fast.lowering.sensitivity import ALONE, MeasuredBefore, Surroundings, convolution_names, sensitivities
from inception_fast.plan.engine_file import PRECISIONS, EngineFile, Metadata
from inception_fast.plan.plan import MOST_SENSITIVE, QUANTIZED, Plan, Sensitivity, convolutions_of
from inception_fast.report import passes_to_text
from inception_fast.template import Known, Template, network_key

FEWEST_IMAGES = 4
"""Calibrating int8 on fewer is warned of."""


def build(
    captured: Captured,
    example: torch.Tensor,
    precision: str,
    backend: str,
    batch_invariant: bool = False,
    accuracy: str = "promise",
) -> FastModel:
    """The FastModel of a captured network, for inputs like ``example``."""
    lowering = selection(backend, example.device, precision, batch_invariant=batch_invariant).backend.lowering
    engine = make_engine(captured, example, precision, lowering, batch_invariant, accuracy)
    return FastModel(engine, captured.structure, backend, example.device)


def make_engine(
    captured: Captured,
    example: torch.Tensor,
    precision: str,
    lowering: Lowering,
    batch_invariant: bool = False,
    accuracy: str = "promise",
    known: Known | None = None,
    place: Surroundings = ALONE,
) -> EngineFile:
    """The Plan of a captured network as a backend wants it lowered, with its constants; no backend is asked.

    Args:
        example: ``[N, C, H, W]``, or ``[N, H, W, C]`` as ``captured.layout`` says; images to calibrate on for
            ``int8``.
        known: where to look for what engines of the same network for other image sizes have left, and to leave it; of
            a network that is alone.
        place: see :func:`inception_fast.lowering.sensitivity.sensitivities`.
    """
    images = captured.planes(example)
    if PRECISIONS[precision] == QUANTIZED:
        graph, reports = optimize_graph(captured.graph, lowering.quantized)
        plan, constants, report = calibrated(graph, *lower(graph), images)
        reports = (*reports, report)
    else:
        plan, constants, reports = _lowered(captured.graph, PRECISIONS[precision], lowering, accuracy, known, place)
    metadata = Metadata(
        precision=precision,
        batch_invariant=batch_invariant,
        input_shape=(images.shape[1], images.shape[2], images.shape[3]),
        input_dtype=str(example.dtype).removeprefix("torch."),
        structure=captured.structure.to_json(),
        report=passes_to_text(reports),
        output_dtype=None if example.is_floating_point() else str(captured.dtype).removeprefix("torch."),
        input_layout=captured.layout,
    )
    return EngineFile(plan, constants, metadata)


def _lowered(
    captured: Graph, dtype: str, lowering: Lowering, accuracy: str, known: Known | None, place: Surroundings
) -> tuple[Plan, dict[str, torch.Tensor], tuple[PassReport, ...]]:
    """Plan, constants and reports of a network in floating point."""
    key = None
    if known is not None:
        assert isinstance(captured.input.op, Input)
        key = (network_key(captured), dtype, lowering, accuracy)
        if again := known.at(key, *captured.input.op.shape[1:]):
            template, plan, reports = again
            note = _rounding_report(reports[-1].after, accuracy, template.sensitivities)
            return plan, template.found.constants, (*reports, note)
    start, stages = run_passes(captured, lowering)
    graph, reports = stages[-1].graph, report_passes(start, stages)
    measured = _sensitivities(captured, graph, dtype, accuracy, known.measured if known is not None else None, place)
    found = lowered(graph, dtype, measured)
    if known is not None:
        found = known.keep(key, Template.of(start, stages, measured, found))
    return found.plan, found.constants, (*reports, _rounding_report(reports[-1].after, accuracy, measured))


def _sensitivities(
    original: Graph,
    graph: Graph,
    dtype: str,
    accuracy: str,
    known: MeasuredBefore | None,
    place: Surroundings,
) -> dict[str, Sensitivity]:
    """By convolution; see :func:`inception_fast.lowering.lower.lower`."""
    if accuracy == "fast":
        return {}
    names = convolution_names(graph)
    if accuracy == "eager":
        return dict.fromkeys(names, Sensitivity(MOST_SENSITIVE, MOST_SENSITIVE))
    return sensitivities(original, graph, getattr(torch, dtype), known, place)


def _rounding_report(size: Metrics, accuracy: str, found: Mapping[str, Sensitivity]) -> PassReport:
    note = {
        "fast": "the fastest algorithms, whatever rounding they add",
        "eager": "no algorithm that adds rounding of its own",
        "promise": "algorithms by how much of the rounding that they add reaches the outputs",
    }[accuracy]
    worst = max(found, key=lambda name: found[name].noise, default=None)
    if accuracy == "promise" and worst is not None and found[worst].noise:
        note += f"; most of it from {worst}, where {1 / found[worst].noise:.1e} would be all that may be added"
    return PassReport("limit_rounding", size, size, (note,))


def calibrated(
    graph: Graph, plan: Plan, constants: Mapping[str, torch.Tensor], images: torch.Tensor
) -> tuple[Plan, dict[str, torch.Tensor], PassReport]:
    """The quantised form of a Plan, and what to say about it.

    Raises:
        InputError: the images cannot be representative: not finite, or each of a single colour; or the network makes
            infinities or NaN of them.
        PlanError: a layer sums more products than 32 bits hold.
    """
    from inception_fast.quantization import calibrate, quantize

    images = images.float()
    if not images.isfinite().all():
        raise InputError("example_inputs", "values that are not finite", "images to calibrate int8 on")
    alike = torch.equal(images, images[:1].expand_as(images))
    flat = torch.equal(images, images[:, :, :1, :1].expand_as(images))
    # Images of one pixel have one colour each; that they differ is all that can be asked of them.
    if flat and (alike or images.shape[2:].numel() > 1):
        raise InputError("example_inputs", "images of a single colour", "representative images to calibrate int8 on")
    if len(images) < FEWEST_IMAGES:
        few = f"example_inputs: int8 is calibrated on {len(images)} images, whose scales may fit no others"
        warnings.warn(few, stacklevel=5)
    calibration = calibrate(plan, constants, images)
    quantized, elements = quantize(plan, constants, calibration)
    convs = [conv for step in quantized.steps for conv in convolutions_of(step)]
    pairs = sum(conv.winograd is not None for conv in convs)
    notes = (
        f"int8 weights, a scale for each output channel, in {len(convs)} convolutions, {pairs} of them by F(2, 3)",
        f"uint8 activations, a scale for each of {len(calibration.ranges)} buffers, from {calibration.images} images",
    )
    size = measure(graph)
    return quantized, elements, PassReport("quantize", size, size, notes)
