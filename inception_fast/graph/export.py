"""``torch.export``, one at a time in a process, of a model that is left as it was."""

from __future__ import annotations

import copy
import logging
import textwrap
import threading
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest import mock

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import ExportedProgram, _trace
from torch.export.graph_signature import (
    ConstantArgument,
    ExportGraphSignature,
    OutputKind,
    SymIntArgument,
    TensorArgument,
)
from torch.utils import _pytree as pytree

from inception_fast.errors import CaptureError, InceptionFastError, InputError
from inception_fast.graph.builder import Const
from inception_fast.graph.confine import confined
from inception_fast.graph.data_dependent import branch_on_values
from inception_fast.graph.functional import functional
from inception_fast.graph.lengths import lengths_are_sizes
from inception_fast.graph.normalizing import numbers_decide
from inception_fast.graph.structure import TENSOR, OutputStructure
from inception_fast.graph.twin import twin_of

EXPORTING = threading.Lock()
"""Exports change modes of the whole process, so there is one at a time."""
Kwargs = Mapping[str, Any]
REMEDY = "; inception_fast.swap replaces those parts of a model that can be traced, and leaves the others as they are"
"""Of models that cannot be traced."""


def export_images(model: nn.Module, example: Tensor) -> ExportedProgram:
    """The functional ATen graph of a model of one tensor ``[N, C, H, W]``, its convolutions and normalisations whole
    and its batch size open.

    Raises:
        InputError: the model itself fails for such images.
        CaptureError: ``torch.export`` refuses the model.
    """
    # A batch of one would be taken for a constant.
    images = torch.zeros((2, *example.shape[1:]), dtype=example.dtype, device=example.device)
    shapes = torch.export.ShapesCollection()
    shapes[images] = {0: torch.export.Dim("batch")}
    return _export(model, (images,), {}, shapes, "images of " + "x".join(map(str, example.shape[1:])))


def export_call(model: nn.Module, args: Sequence[Any], kwargs: Kwargs, batched: Collection[int]) -> ExportedProgram:
    """The functional ATen graph of a model as it is called.

    Args:
        args, kwargs: tensors and constants in tuples, lists and dicts; values of tensors do not matter.
        batched: which tensors, in order, have the batch as their first dimension, whose size is left open.

    Raises:
        InputError, CaptureError: as :func:`export_images`.
    """
    leaves, spec = pytree.tree_flatten((tuple(args), dict(kwargs)))
    shapes, position = torch.export.ShapesCollection(), 0
    for i, leaf in enumerate(leaves):
        if isinstance(leaf, Tensor):
            first = {0: max(2, leaf.shape[0])} if position in batched else {}
            extents = [first.get(d, s) for d, s in enumerate(leaf.shape)]
            # New ones, so that no two arguments are one tensor; a batch of one would be taken for a constant.
            leaves[i] = torch.zeros(extents, dtype=leaf.dtype, device=leaf.device)
            if first:
                shapes[leaves[i]] = {0: torch.export.Dim.AUTO}
            position += 1
    new_args, new_kwargs = pytree.tree_unflatten(leaves, spec)
    return _export(model, new_args, new_kwargs, shapes, "such arguments")


@cache
def _lasting_device_guard() -> ThreadPoolExecutor:
    """A thread that has had fake tensors, and stays.

    Without a GPU PyTorch 2.11 keeps something of the first such thread, and crashes in the next one once that is gone.
    """

    def enter() -> None:
        with FakeTensorMode():
            pass

    keeper = ThreadPoolExecutor(1, thread_name_prefix="inception_fast.export")
    keeper.submit(enter).result()
    return keeper


def _export(model: nn.Module, args: tuple[Any, ...], kwargs: Kwargs, shapes: Any, what: str) -> ExportedProgram:
    tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    kind, twin = tensors[0].device.type if tensors else "cpu", twin_of(model)
    try:
        with (
            EXPORTING,
            confined(),
            numbers_decide(),
            lengths_are_sizes(),
            _quiet(),
            torch.inference_mode(),
            torch.autocast(kind, enabled=False),
        ):
            # Behind the lock, so that there is one.
            _lasting_device_guard()
            return functional(torch.export.export(twin, args, dict(kwargs), dynamic_shapes=shapes, strict=False))
    except InceptionFastError:
        raise
    except Exception as error:
        failure = _failure(model, args, kwargs)
        if failure:
            got = f"{what}, for which the model itself fails: {_reason(failure)}"
            raise InputError("example_inputs", got, "images that fit the model") from error
        asked = branch_on_values(error, twin)
        if asked:
            raise asked from error
        raise CaptureError(f"torch.export cannot trace the model for {what}: {_reason(error)}{REMEDY}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warning of attributes that are given a tensor, which are a twin's, and without the pages that PyTorch
    logs and prints of a trace that fails, in this thread.
    """
    owner, call = threading.get_ident(), logging.Logger.callHandlers

    def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
        if threading.get_ident() != owner or not logger.name.startswith("torch"):
            call(logger, record)

    def tell(*values: Any, **kwargs: Any) -> None:
        if threading.get_ident() != owner:
            print(*values, **kwargs)

    with (
        warnings.catch_warnings(),
        mock.patch.object(logging.Logger, "callHandlers", call_handlers),
        mock.patch.object(_trace, "print", tell, create=True),
    ):
        warnings.filterwarnings("ignore", r"The tensor attributes? .* assigned during export", UserWarning)
        yield


def _failure(model: nn.Module, args: tuple[Any, ...], kwargs: Kwargs) -> Exception | None:
    """What the model raises when it is not being traced."""
    try:
        # A real run may change buffers.
        twin = copy.deepcopy(model)
    except Exception:
        return None
    try:
        with torch.inference_mode():
            twin(*args, **kwargs)
    except Exception as error:
        return error
    return None


def _reason(error: Exception) -> str:
    """The gist of an error that may have pages of advice."""
    lines = [line.strip(" -") for line in str(error).splitlines() if line.strip(" -")] or [type(error).__name__]
    if lines[0].startswith("Constraints violated"):
        return "it fixes the batch size or treats some batch sizes differently"
    return textwrap.shorten(lines[0], 160, placeholder=" ...")


@dataclass(frozen=True)
class Exported:
    """What is asked of an ``ExportedProgram``; attributes as there.

    Attributes:
        graph: an ``fx.Graph``.
    """

    graph: Any
    graph_signature: ExportGraphSignature
    call_spec: Any
    constants: Mapping[str, Any]
    state_dict: Mapping[str, Any]


def constants_of(program: ExportedProgram | Exported) -> dict[str, Const]:
    """Parameters, buffers and constants by the name of their placeholder."""
    signature = program.graph_signature
    names = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    tensors: dict[str, Any] = {**program.constants, **program.state_dict}
    return {placeholder: Const(tensors[name], name) for placeholder, name in names.items()}


def returned(program: ExportedProgram | Exported, *, numbers: bool = False) -> tuple[list[fx.Node], OutputStructure]:
    """What the model returns: the ATen nodes of its tensors, and where they go.

    Args:
        numbers: take numbers that depend on sizes, in the places of tensors.

    Raises:
        CaptureError: the model does more than to compute tensors.
    """
    (values,) = program.graph.output_node().args
    nodes: list[fx.Node] = []
    leaves: list[Any] = []
    for value, spec in zip(values, program.graph_signature.output_specs, strict=True):
        if spec.kind is not OutputKind.USER_OUTPUT:
            what = "input" if spec.kind is OutputKind.USER_INPUT_MUTATION else "state"
            raise CaptureError(
                f"the model changes its {what} '{spec.target}' as it runs; a fast module could not do so{REMEDY}"
            )
        if isinstance(spec.arg, TensorArgument) or (numbers and isinstance(spec.arg, SymIntArgument)):
            nodes.append(value)
            leaves.append(TENSOR)
        elif isinstance(spec.arg, ConstantArgument):
            leaves.append(value)
        else:
            raise CaptureError("the model returns a number that depends on the batch, not a tensor")
    if not nodes:
        raise CaptureError("the model returns no tensor")
    return nodes, OutputStructure(pytree.tree_unflatten(leaves, program.call_spec.out_spec))
