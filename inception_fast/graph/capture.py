"""From a user's module to a Graph, by way of ``torch.export``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from inception_fast.errors import CaptureError, InputError, InputTypeError, UnsupportedOpError
from inception_fast.graph import ir
from inception_fast.graph.branches import Call, check_branches
from inception_fast.graph.builder import CannotExpress, Const, Data
from inception_fast.graph.export import EXPORTING, Exported, constants_of, export_images, returned
from inception_fast.graph.foreign import check_foreign, is_exported
from inception_fast.graph.hooks import check_hooks
from inception_fast.graph.structure import OutputStructure
from inception_fast.graph.translate import Translator, moves_axes, place_of

_MODAL = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd, nn.RReLU)
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Captured:
    """A model as a Graph.

    Attributes:
        graph: its parameters are copies, on the CPU and in the model's dtype; those computed on the way are float64.
        structure: what the model returns; ``graph.outputs`` are its tensors in order.
        dtype: of the model's outputs, and of its input unless that is bytes.
        layout: of the model's input; None for NCHW.
    """

    graph: ir.Graph
    structure: OutputStructure
    dtype: torch.dtype
    layout: Literal["NHWC"] | None = None

    def planes(self, images: Tensor) -> Tensor:
        """Images in the model's layout as ``[N, C, H, W]``."""
        return images if self.layout is None else images.permute(0, 3, 1, 2)


def capture(model: nn.Module, example_inputs: Tensor | Sequence[Tensor]) -> Captured:
    """The Graph of ``model`` for images of the example's size and any batch size.

    The model is left as it was, and other threads may run it or capture it meanwhile.

    Args:
        model: in eval mode, with floating-point parameters, on any device.
        example_inputs: ``[N, C, H, W]``, or ``[N, H, W, C]`` where the model permutes it, or a sequence of one, with
            the model's dtype or uint8, and on its device. Values do not matter.

    Raises:
        InputError: an argument cannot be served (training mode, shape, dtype, device).
        UnsupportedOpError: the model uses an operator outside the Inception family's.
        CaptureError: ``torch.export`` refuses the model, the model does more than to compute its outputs, or it
            computes otherwise for a single image than for several, or otherwise while it is traced.
    """
    check_model(model)
    _, captured, _ = capture_anew(model, check_example(example_inputs, model))
    return captured


def capture_anew(
    model: nn.Module, example: Tensor, calls: list[Call] | None = None
) -> tuple[ExportedProgram, Captured, list[Call] | None]:
    """:func:`capture` of what it has checked: the program, its Graph, and what the model calls.

    Args:
        calls: what the model calls for such images, where :func:`~inception_fast.graph.branches.calls_of` has said so.
    """
    program = export_images(model, example)
    captured = translated(program, dtype_of(model, example))
    return program, captured, calls or check_branches(model, (example,), {}, {0}, EXPORTING)


def dtype_of(model: nn.Module, example: Tensor) -> torch.dtype:
    """That a model computes in: the example's, or where that is bytes its parameters'."""
    if example.is_floating_point():
        return example.dtype
    return next((p.dtype for p in model.parameters()), torch.float32)


def translated(program: ExportedProgram | Exported, dtype: torch.dtype) -> Captured:
    """A program that takes one tensor of images and computes in ``dtype``, as a Graph.

    Raises:
        UnsupportedOpError, CaptureError: as :func:`capture`.
    """
    try:
        return _translated(program, dtype, None)
    except UnsupportedOpError as refusal:
        if not moves_axes(program.graph):
            raise
        try:
            return _translated(program, dtype, "NHWC")
        except (UnsupportedOpError, CaptureError):
            raise refusal from None


def _translated(program: ExportedProgram | Exported, dtype: torch.dtype, layout: Literal["NHWC"] | None) -> Captured:
    nodes, structure = returned(program)
    # Copies made in the caller's inference mode would be of no use outside it.
    with torch.inference_mode(False), torch.no_grad():
        translator = Translator(constants_of(program), dtype, layout=layout)
        values = translator.run(program.graph, nodes)
        outputs = tuple(output_name(translator, node, value) for node, value in zip(nodes, values, strict=True))
    graph = ir.Graph(tuple(translator.builder.nodes), outputs, translator.builder.params)
    return Captured(graph, structure, dtype, layout)


def check_model(model: nn.Module) -> None:
    """Refuses what no fast form could stand for.

    Raises:
        InputError: it is no module, in training mode, without values, a script or quantised.
        CaptureError: it has hooks that would be lost.
    """
    if not isinstance(model, nn.Module):
        raise InputTypeError("model", type(model).__name__, "a torch.nn.Module")
    check_foreign(model)
    for path, module in () if is_exported(model) else model.named_modules():
        if module.training and (not path or _heeds_training_flag(module)):
            where = f" (module '{path}')" if path else ""
            raise InputError("model", f"training mode{where}", "eval mode")
    check_hooks(model)
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point():
            raise InputTypeError("model", f"parameter '{name}' of {parameter.dtype}", "floating-point parameters")
        if parameter.is_meta:
            raise InputError("model", f"parameter '{name}' on the meta device", "parameters with values")


def _heeds_training_flag(module: nn.Module) -> bool:
    """False for PyTorch's own layers that compute the same in training.

    An ``nn.Identity`` put in place of the classifier after ``model.eval()`` has its flag set, and harms nobody.
    Modules of other packages might ask for theirs.
    """
    return isinstance(module, _MODAL) or not type(module).__module__.startswith("torch.nn.")


def check_example(example: Any, model: nn.Module) -> Tensor:
    """The images that a model of one tensor is captured for.

    Raises:
        InputError: the argument cannot be served.
    """
    argument = "example_inputs"
    if isinstance(example, tuple | list):
        if len(example) != 1:
            raise InputError(argument, f"{len(example)} inputs", "one tensor of images")
        example = example[0]
    if not isinstance(example, Tensor):
        raise InputTypeError(argument, type(example).__name__, "a tensor of images (N, C, H, W)")
    if example.dim() != 4:
        raise InputError(argument, f"shape {tuple(example.shape)}", "images (N, C, H, W)")
    if example.numel() == 0:
        raise InputError(argument, f"shape {tuple(example.shape)}", "at least one image with at least one pixel")
    if example.dtype not in (taken := dtypes_taken(model)):
        raise InputTypeError(argument, example.dtype, " or ".join(sorted(map(str, taken))))
    device = next((t.device for t in (*model.parameters(), *model.buffers())), example.device)
    if example.device != device:
        raise InputError(argument, f"a tensor on {example.device}", f"one on {device}, where the model is")
    return example


def dtypes_taken(model: nn.Module) -> set[torch.dtype]:
    """Of images that a Graph of a model could take."""
    dtypes = {p.dtype for p in model.parameters()} or set(DTYPES)
    return {*dtypes.intersection(DTYPES), torch.uint8}


def output_name(translator: Translator, node: fx.Node, value: Any) -> str:
    """Name of the Graph value that the model returns as ``node``."""
    if isinstance(value, Data) and node.meta["val"].dtype != translator.dtype:
        raise translator.refuse(node, f"the model returns {node.meta['val'].dtype} and computes in {translator.dtype}")
    if not isinstance(value, Data):
        if isinstance(value, Const):
            raise CaptureError(f"the model returns '{value.name or node.name}', which does not depend on its input")
        raise translator.refuse(node, f"the model returns {value}")
    builder = translator.builder
    try:
        name = builder.value(value)
    except CannotExpress as reason:
        raise translator.refuse(node, f"the model returns {reason}") from None
    if name != builder.nodes[0].name:
        return name
    # The caller's own tensor is not ours to hand back.
    known = next((n.name for n in builder.nodes if isinstance(n.op, ir.Copy)), None)
    return known or builder.emit(ir.Copy(), [name], place_of(node)).source
