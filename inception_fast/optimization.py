"""``optimize``: from a user's module to a FastModel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from inception_fast.backends import select_backend
from inception_fast.errors import InputError, InputTypeError
from inception_fast.fast_model import FastModel
from inception_fast.graph.capture import Captured, capture
from inception_fast.graph.passes import optimize_graph
from inception_fast.plan.engine_file import PRECISIONS, EngineFile, Metadata
from inception_fast.plan.lower import lower
from inception_fast.report import passes_to_text

PUBLIC_PRECISIONS = ("fp32", "tf32", "fp16", "bf16")


def optimize(
    model: nn.Module,
    example_inputs: torch.Tensor | Sequence[torch.Tensor],
    *,
    precision: str = "fp32",
    backend: str = "auto",
    batch_invariant: bool = False,
) -> FastModel:
    """A faster module with the model's inputs and outputs.

    Args:
        model: any network of the Inception family, or part of one, in eval mode. It is not changed.
        example_inputs: one tensor ``[N, C, H, W]``, or a sequence that holds one. Its channels and image size are
            what the result takes; its batch size does not matter; its device is where the result gets ready first.
        precision: ``fp32``, ``tf32`` (float32 with matrix products rounded to TF32 on GPUs that have it), ``fp16``
            or ``bf16``. Sums and biases are float32 in all of them.
        backend: ``auto`` (the best that can run here), or one of :func:`inception_fast.backends`.
        batch_invariant: the bits of an image's result depend neither on its batch nor on its place there.

    Raises:
        InputError: an argument does not fit; the message names it.
        UnsupportedOpError: the model uses an operator that is not the family's; the message says which and where.
        CaptureError: ``torch.export`` cannot trace the model.
        BackendUnavailableError: the backend asked for cannot run here.
    """
    example = single_example(example_inputs)
    check_precision(precision)
    select_backend(backend, example.device, precision)
    return build(capture(model, example), example, precision, backend, batch_invariant)


def build(
    captured: Captured, example: torch.Tensor, precision: str, backend: str, batch_invariant: bool = False
) -> FastModel:
    """The FastModel of a captured network, for inputs like ``example``."""
    chosen = select_backend(backend, example.device, precision)
    graph, reports = optimize_graph(captured.graph, chosen.lowering)
    plan, constants = lower(graph, PRECISIONS[precision])
    metadata = Metadata(
        precision=precision,
        batch_invariant=batch_invariant,
        input_shape=(example.shape[1], example.shape[2], example.shape[3]),
        input_dtype=str(example.dtype).removeprefix("torch."),
        structure=captured.structure.to_json(),
        report=passes_to_text(reports),
    )
    return FastModel(EngineFile(plan, constants, metadata), captured.structure, backend, example.device)


def check_precision(precision: str) -> None:
    """Refuses a name that is no precision."""
    if precision not in PUBLIC_PRECISIONS:
        raise InputError("precision", repr(precision), f"one of {', '.join(map(repr, PUBLIC_PRECISIONS))}")


def single_example(example_inputs: torch.Tensor | Sequence[torch.Tensor]) -> torch.Tensor:
    """The one tensor of ``example_inputs``."""
    examples = example_inputs if isinstance(example_inputs, tuple | list) else (example_inputs,)
    if len(examples) != 1:
        raise InputError("example_inputs", f"{len(examples)} inputs", "one tensor [N, C, H, W]")
    (example,) = examples
    if not isinstance(example, torch.Tensor):
        raise InputTypeError("example_inputs", type(example).__name__, "a torch.Tensor [N, C, H, W]")
    return example
