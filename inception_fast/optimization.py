"""``optimize``: from a user's module to a FastModel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from inception_fast.artefacts.choose import module_of
from inception_fast.backends import select_backend
from inception_fast.compilation import build
from inception_fast.errors import InputError, InputTypeError
from inception_fast.fast_model import FastModel
from inception_fast.graph.capture import Captured, capture
from inception_fast.precision import check_precision

if TYPE_CHECKING:
    from inception_fast.partition.partitioned_model import PartitionedModel

ACCURACIES = ("promise", "eager", "fast")


def optimize(
    model: Any,
    example_inputs: Any,
    *,
    precision: str = "fp32",
    backend: str = "auto",
    batch_invariant: bool = False,
    strict: bool = False,
    accuracy: str = "promise",
    sizes: str = "example",
    memory_limit: int | None = None,
) -> FastModel | PartitionedModel:
    """A faster module with the model's inputs and outputs.

    What the backends have no kernels for stays PyTorch's: the model is cut into the largest regions that they serve,
    an engine each, and the operators between them. The report says what runs where and why.

    Args:
        model: any network of the Inception family, part of one, or a model with such parts, in eval mode, swapped
            or not (what it was before is optimized); also as a
            module of ``torch.jit``, a ``torch.export.ExportedProgram``, the path of an ``.onnx`` file or an
            ``onnx.ModelProto``. It is not changed.
        example_inputs: what the model is called with: one tensor, most often ``[N, C, H, W]``; a sequence of its
            positional arguments; or a dict of its arguments by name. Tensors may be inside of lists and dicts. Their
            shapes are what the result takes, for any batch size where the model allows it; their device is where the
            result gets ready first. What they hold matters for ``int8`` only: there they are the calibration, ten or
            more images like those to come.
        precision: ``fp32``, ``tf32`` (float32 with matrix products rounded to TF32 on GPUs that have it), ``fp16``
            or ``bf16``: sums and biases are float32 in all of them. Or ``int8``: weights and activations of 8 bits.
        backend: ``auto`` (the best that can run here; with a warning where that is only the slow ``reference``), or
            one of :func:`inception_fast.backends`.
        batch_invariant: the bits of an image's result depend neither on its batch nor on its place there. PyTorch's
            operators do not promise that, so all of the model must be served.
        strict: refuse a model that is not served as a whole, in place of leaving parts of it to PyTorch.
        accuracy: ``promise`` (the relative L2 error of each output is at most twice that of PyTorch eager in the same
            precision, or 1e-5 in float32, however badly the network is conditioned: how much each convolution's
            rounding is amplified on the way to the outputs is measured here, and fast algorithms go where it is
            little), ``eager`` (nothing that adds rounding of its own) or ``fast`` (the fastest algorithms,
            without measuring). All the same for ``int8``.
        sizes: ``example``, or ``any``: other image sizes than the example's are taken too, as
            :class:`inception_fast.many_sizes.ManySizes` says; for models that are served as a whole, of the precisions
            not for ``int8``, and with the default of ``accuracy``.
        memory_limit: bytes that the engines of all sizes may hold; by default as for :func:`inception_fast.swap`.

    Returns:
        A :class:`FastModel` of a model that is served as a whole, else a :class:`PartitionedModel`; with a warning
        where no part of it is served, and all of it is PyTorch's.

    Raises:
        InputError: an argument does not fit; the message names it.
        UnsupportedOpError: ``strict``, and the model uses an operator that is not the family's; the message says which
            and where.
        CaptureError: ``torch.export`` cannot trace the model.
        ModelFileError: a file is missing, or holds no model.
        OnnxUnavailableError: ONNX files need the ``onnx`` package.
        BackendUnavailableError: the backend asked for cannot run here.
        PlanError: ``int8``, and a layer sums more products than 32 bits hold.
    """
    check_precision(precision)
    if accuracy not in ACCURACIES:
        raise InputError("accuracy", repr(accuracy), f"one of {', '.join(map(repr, ACCURACIES))}")
    if memory_limit is not None and sizes == "example":
        raise InputError("memory_limit", memory_limit, "None, or sizes='any'")
    # Built on this module.
    from inception_fast.nn.seen_through import seen_through
    from inception_fast.partition.capture import capture_parts, example_of
    from inception_fast.partition.partitioning import partitioned

    device = next((t.device for t in tree_leaves(example_inputs) if isinstance(t, torch.Tensor)), None)
    model = module_of(seen_through(model), device)
    images = single_example(example_inputs) if strict else None
    if device is not None:
        select_backend(backend, device, precision)
    if sizes != "example":
        images = single_example(example_inputs)
        return _of_many_sizes(model, images, sizes, precision, backend, batch_invariant, accuracy, memory_limit)
    if images is not None:
        return build(capture(model, images), images, precision, backend, batch_invariant, accuracy)
    example = example_of(model, example_inputs)
    captured = capture_parts(model, example)
    if isinstance(captured, Captured):
        return build(captured, example.tensors[0], precision, backend, batch_invariant, accuracy)
    return partitioned(captured, example, precision, backend, batch_invariant, accuracy)


def _of_many_sizes(
    model: nn.Module,
    example: torch.Tensor,
    sizes: str,
    precision: str,
    backend: str,
    batch_invariant: bool,
    accuracy: str,
    memory_limit: int | None,
) -> FastModel:
    from inception_fast.many_sizes import ManySizes
    from inception_fast.nn.forms import MEMORY_LIMIT, Options

    if sizes != "any":
        raise InputError("sizes", repr(sizes), "'example' or 'any'")
    if accuracy != "promise":
        raise InputError("accuracy", repr(accuracy), "'promise' where sizes='any'")
    limit = MEMORY_LIMIT if memory_limit is None else memory_limit
    return ManySizes(model, example, Options(precision, backend, batch_invariant, limit))


def single_example(example_inputs: torch.Tensor | Sequence[torch.Tensor]) -> torch.Tensor:
    """The one tensor of ``example_inputs``."""
    examples = example_inputs if isinstance(example_inputs, tuple | list) else (example_inputs,)
    if len(examples) != 1:
        raise InputError("example_inputs", f"{len(examples)} inputs", "one tensor [N, C, H, W]")
    (example,) = examples
    if not isinstance(example, torch.Tensor):
        raise InputTypeError("example_inputs", type(example).__name__, "a torch.Tensor [N, C, H, W]")
    return example
