"""From a module and what it is called with to the parts that it consists of."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import SymInt, Tensor, fx, nn
from torch.export import ExportedProgram
from torch.fx.experimental.symbolic_shapes import is_concrete_int
from torch.utils._sympy.symbol import SymT, symbol_is_type

from inception_fast.errors import CaptureError, InputError, UnsupportedOpError
from inception_fast.graph.branches import check_branches
from inception_fast.graph.builder import Const
from inception_fast.graph.capture import Captured, check_model, dtype_of, dtypes_taken, translated
from inception_fast.graph.export import EXPORTING, REMEDY, constants_of, export_call, export_images, returned
from inception_fast.graph.structure import OutputStructure
from inception_fast.partition.arguments import Contract, Example, TensorSpec
from inception_fast.partition.regions import Found, find_regions
from inception_fast.partition.rest import Layout

_NAMES = "NMKJ"


@dataclass(frozen=True)
class Parts:
    """A model that is not served as a whole.

    Attributes:
        returned: the nodes of the tensors and numbers that it returns.
        structure: how they are nested.
        inner: fast modules that the model has itself; operators of the program know them by name.
    """

    program: ExportedProgram
    constants: dict[str, Const]
    contract: Contract
    returned: list[fx.Node]
    structure: OutputStructure
    found: Found
    layout: Layout
    inner: tuple[nn.Module, ...]


def example_of(model: nn.Module, example_inputs: Any) -> Example:
    """What a model is to be called with, once both are known to be fit.

    Raises:
        InputError: an argument of ``optimize`` is not.
    """
    check_model(model)
    return _placed(model, Example.of(model, example_inputs))


def example_of_call(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Example:
    """:func:`example_of` for positional and keyword arguments."""
    check_model(model)
    return _placed(model, Example.of_call(model, args, kwargs))


def _placed(model: nn.Module, example: Example) -> Example:
    devices = {t.device for t in (*model.parameters(), *model.buffers())} or {example.device}
    for x in example.tensors:
        if x.device not in devices:
            expected = f"one on {' or '.join(map(str, devices))}, where the model is"
            raise InputError("example_inputs", f"a tensor on {x.device}", expected)
    return example


def capture_parts(model: nn.Module, example: Example) -> Captured | Parts:
    """A model as one Graph where there is one that says all of it, else as the parts that there are.

    Raises:
        InputError: the model fails for such arguments.
        CaptureError: ``torch.export`` refuses the model, or the model does more than to compute its outputs.
    """
    if _is_images(model, example):
        (images,) = example.tensors
        try:
            program = export_images(model, images)
            captured: Captured | None
            try:
                captured = translated(program, dtype_of(model, images))
            except (UnsupportedOpError, CaptureError):
                captured = None
            check_branches(model, *example.call(), {0}, EXPORTING)
        except (CaptureError, InputError) as error:
            program = _for_this_batch(model, example, error)
            captured = None
        return captured or _parts(model, program, example)
    batched = example.batched()
    try:
        program = export_call(model, *example.call(), batched)
        check_branches(model, *example.call(), _open(program), EXPORTING)
    except (CaptureError, InputError) as error:
        return _parts(model, _for_this_batch(model, example, error), example)
    if not _fits(program, example):
        return _parts(model, _for_this_batch(model, example, None), example)
    parts = _parts(model, program, example)
    if not parts.layout.regions and any(example.tensors[i].dim() == 3 for i in batched):
        # What was taken for the batch may be the rows of a single image.
        return _parts(model, _for_this_batch(model, example, None), example)
    return parts


def _for_this_batch(model: nn.Module, example: Example, reason: Exception | None) -> ExportedProgram:
    """The program for sizes like those of the example alone; where there is none either, ``reason`` is why."""
    args, kwargs = example.call()
    try:
        program = export_call(model, args, kwargs, ())
    except (CaptureError, InputError):
        if reason is not None:
            raise reason from None
        raise
    # A model that changes its state is told so, before anything that follows from it.
    returned(program, numbers=True)
    check_branches(model, args, kwargs, (), EXPORTING)
    return program


def _parts(model: nn.Module, program: ExportedProgram, example: Example) -> Parts:
    _check_counts(program)
    nodes, structure = returned(program, numbers=True)
    constants = constants_of(program)
    found = find_regions(program.graph, constants)
    layout = Layout(program.graph, nodes, found.regions, constants)
    specs = _specs(_inputs(program))
    if len(specs) != len(example.tensors):
        raise CaptureError(f"torch.export has made {len(specs)} inputs of {len(example.tensors)} tensors")
    contract = Contract(example.signature, example.structure, specs)
    inner = tuple(m for m in model.modules() if hasattr(m, "fake_outputs"))
    return Parts(program, constants, contract, nodes, structure, found, layout, inner)


def _check_counts(program: ExportedProgram) -> None:
    """Refuses a trace that holds only for several of what is counted by values, such as the boxes that are left.

    Raises:
        CaptureError: there is one.
    """
    for size, bounds in program.range_constraints.items():
        if symbol_is_type(size, SymT.UNBACKED_INT) and bounds.lower > 0:
            raise CaptureError(
                f"a size in the model follows from values, and its trace would hold from {bounds.lower} on{REMEDY}"
            )


def _inputs(program: ExportedProgram) -> list[Tensor]:
    """The tensors without values that stand for the arguments', in order."""
    names = set(program.graph_signature.user_inputs)
    placeholders = [n for n in program.graph.find_nodes(op="placeholder") if n.name in names]
    return [n.meta["val"] for n in placeholders if isinstance(n.meta.get("val"), Tensor)]


def _open(program: ExportedProgram) -> Collection[int]:
    """Which of the tensors have a first dimension of any size."""
    return [i for i, fake in enumerate(_inputs(program)) if fake.dim() and not is_concrete_int(fake.shape[0])]


def _fits(program: ExportedProgram, example: Example) -> bool:
    """Whether a program takes the example: of a batch of one it has seen two, and may have taken two for a constant."""
    pairs = zip(_inputs(program), example.tensors, strict=True)
    return all(
        not is_concrete_int(f) or int(f) == e for fake, x in pairs for f, e in zip(fake.shape, x.shape, strict=True)
    )


def _specs(fakes: list[Tensor]) -> tuple[TensorSpec, ...]:
    """Of tensors without values, with names for people in place of the trace's for what may vary."""
    names: dict[str, str] = {}

    def extent(size: int | SymInt) -> int | str:
        if is_concrete_int(size):
            return int(size)
        return re.sub(r"[su]\d+", lambda m: names.setdefault(m[0], _NAMES[len(names) % len(_NAMES)]), str(size))

    return tuple(TensorSpec(tuple(map(extent, fake.shape)), fake.dtype) for fake in fakes)


def _is_images(model: nn.Module, example: Example) -> bool:
    """Whether a model is called with one tensor that a Graph could take."""
    args, kwargs = example.call()
    if kwargs or len(args) != 1 or not isinstance(x := args[0], Tensor):
        return False
    return x.dim() == 4 and x.dtype in dtypes_taken(model)
