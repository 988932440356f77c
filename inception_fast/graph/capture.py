"""From a user's module to a Graph, by way of ``torch.export``."""

from __future__ import annotations

import copy
import textwrap
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, OutputKind, TensorArgument
from torch.utils import _pytree as pytree

from inception_fast.errors import CaptureError, InceptionFastError, InputError, InputTypeError
from inception_fast.graph import ir
from inception_fast.graph.branches import check_branches
from inception_fast.graph.builder import CannotExpress, Const, Data
from inception_fast.graph.confine import confined
from inception_fast.graph.data_dependent import branch_on_values
from inception_fast.graph.foreign import check_foreign, is_exported
from inception_fast.graph.functional import functional
from inception_fast.graph.hooks import check_hooks
from inception_fast.graph.structure import TENSOR, OutputStructure
from inception_fast.graph.translate import Translator, place_of
from inception_fast.graph.twin import twin_of

_MODAL = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd, nn.RReLU)
_exporting = threading.Lock()
"""Exports change modes of the whole process, so there is one at a time."""

_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Captured:
    """A model as a Graph.

    Attributes:
        graph: its parameters are copies, on the CPU and in the model's dtype; those computed on the way are float64.
        structure: what the model returns; ``graph.outputs`` are its tensors in order.
        dtype: of the model's input and outputs.
    """

    graph: ir.Graph
    structure: OutputStructure
    dtype: torch.dtype


def capture(model: nn.Module, example_inputs: Tensor | Sequence[Tensor]) -> Captured:
    """The Graph of ``model`` for images of the example's size and any batch size.

    The model is left as it was, and other threads may run it or capture it meanwhile.

    Args:
        model: in eval mode, with floating-point parameters, on any device.
        example_inputs: ``[N, C, H, W]``, or a sequence of one, with the model's dtype and device. Values do not matter.

    Raises:
        InputError: an argument cannot be served (training mode, shape, dtype, device).
        UnsupportedOpError: the model uses an operator outside the Inception family's.
        CaptureError: ``torch.export`` refuses the model, the model does more than to compute its outputs, or it
            computes otherwise for a single image than for several, or otherwise while it is traced.
    """
    _check_model(model)
    check_hooks(model)
    example = _check_example(example_inputs, model)
    program = _export(model, example)
    nodes, structure = _outputs(program)

    # Copies made in the caller's inference mode would be of no use outside it.
    with torch.inference_mode(False), torch.no_grad():
        translator = Translator(_constants(program), example.dtype)
        values = translator.run(program.graph, nodes)
        outputs = tuple(_output_name(translator, node, value) for node, value in zip(nodes, values, strict=True))
    check_branches(model, example, _exporting)
    graph = ir.Graph(tuple(translator.builder.nodes), outputs, translator.builder.params)
    return Captured(graph, structure, example.dtype)


def _check_model(model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise InputTypeError("model", type(model).__name__, "a torch.nn.Module")
    check_foreign(model)
    for path, module in () if is_exported(model) else model.named_modules():
        if module.training and (not path or _heeds_training_flag(module)):
            where = f" (module '{path}')" if path else ""
            raise InputError("model", f"training mode{where}", "eval mode")
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


def _check_example(example: Any, model: nn.Module) -> Tensor:
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
    dtypes = {p.dtype for p in model.parameters()} or set(_DTYPES)
    if example.dtype not in dtypes.intersection(_DTYPES):
        raise InputTypeError(argument, example.dtype, " or ".join(sorted(map(str, dtypes))))
    device = next((t.device for t in (*model.parameters(), *model.buffers())), example.device)
    if example.device != device:
        raise InputError(argument, f"a tensor on {example.device}", f"one on {device}, where the model is")
    return example


def _export(model: nn.Module, example: Tensor) -> ExportedProgram:
    """The functional ATen graph of ``model``, its convolutions and normalisations whole and its batch size open."""
    # A batch of one would be taken for a constant.
    images = torch.zeros((2, *example.shape[1:]), dtype=example.dtype, device=example.device)
    shapes = torch.export.ShapesCollection()
    shapes[images] = {0: torch.export.Dim("batch")}
    kind, twin = example.device.type, twin_of(model)
    try:
        with _exporting, confined(), _quiet(), torch.inference_mode(), torch.autocast(kind, enabled=False):
            return functional(torch.export.export(twin, (images,), dynamic_shapes=shapes, strict=False))
    except InceptionFastError:
        raise
    except Exception as error:
        asked = branch_on_values(error, twin)
        if asked:
            raise asked from error
        size = "x".join(map(str, example.shape[1:]))
        failure = _failure(model, images)
        if failure:
            got = f"images of {size}, for which the model itself fails: {_reason(failure)}"
            raise InputError("example_inputs", got, "images that fit the model") from error
        raise CaptureError(f"torch.export cannot trace the model for images of {size}: {_reason(error)}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warning of attributes that are given a tensor, which are a twin's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"The tensor attributes? .* assigned during export", UserWarning)
        yield


def _failure(model: nn.Module, images: Tensor) -> Exception | None:
    """What the model raises when it is not being traced."""
    try:
        # A real run may change buffers.
        twin = copy.deepcopy(model)
    except Exception:
        return None
    try:
        with torch.inference_mode():
            twin(images)
    except Exception as error:
        return error
    return None


def _reason(error: Exception) -> str:
    """The gist of an error that may have pages of advice."""
    lines = [line.strip(" -") for line in str(error).splitlines() if line.strip(" -")] or [type(error).__name__]
    if lines[0].startswith("Constraints violated"):
        return "it fixes the batch size or treats some batch sizes differently"
    return textwrap.shorten(lines[0], 160, placeholder=" ...")


def _constants(program: ExportedProgram) -> dict[str, Const]:
    """Parameters, buffers and constants by the name of their placeholder."""
    signature = program.graph_signature
    names = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    tensors: dict[str, Any] = {**program.constants, **program.state_dict}
    return {placeholder: Const(tensors[name], name) for placeholder, name in names.items()}


def _outputs(program: ExportedProgram) -> tuple[list[fx.Node], OutputStructure]:
    """What the model returns: the ATen nodes of its tensors, and where they go."""
    (returned,) = next(n for n in reversed(program.graph.nodes) if n.op == "output").args
    nodes: list[fx.Node] = []
    leaves: list[Any] = []
    for value, spec in zip(returned, program.graph_signature.output_specs, strict=True):
        if spec.kind is not OutputKind.USER_OUTPUT:
            what = "input" if spec.kind is OutputKind.USER_INPUT_MUTATION else "state"
            raise CaptureError(
                f"the model changes its {what} '{spec.target}' as it runs; a fast module could not do so"
            )
        if isinstance(spec.arg, TensorArgument):
            nodes.append(value)
            leaves.append(TENSOR)
        elif isinstance(spec.arg, ConstantArgument):
            leaves.append(value)
        else:
            raise CaptureError("the model returns a number that depends on the batch, not a tensor")
    if not nodes:
        raise CaptureError("the model returns no tensor")
    return nodes, OutputStructure(pytree.tree_unflatten(leaves, program.call_spec.out_spec))


def _output_name(translator: Translator, node: fx.Node, value: Any) -> str:
    """Name of the Graph value that the model returns as ``node``."""
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
