"""Runs the steps of a script in Python, where a trace sees every operator."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves

from inception_fast.artefacts.torchscript_operators import function_of, is_of_type, named
from inception_fast.artefacts.torchscript_program import Program, Step, TensorConstant
from inception_fast.errors import CaptureError

_ASKS = frozenset(
    f"aten::{name}" for name in ("Int", "Float", "Bool", "IntImplicit", "FloatImplicit", "ScalarImplicit", "item")
)
"""Operators that make a number of a tensor."""

_MADE_OF_NUMBERS = ("aten::tensor", "aten::as_tensor")
_FEW = 64


class ScriptRaised(RuntimeError):
    """A script has raised an exception of its own."""


def run(program: Program, module: Any, args: Sequence[Any]) -> Any:
    """What a method returns.

    Args:
        module: whose buffers are the program's constants.
        args: of the graph, ``self`` among them.

    Raises:
        CaptureError: the script branches on values of tensors, changes an attribute, or has an operator that Python
            does not have.
        ScriptRaised: as it says.
    """
    return _Run(module, {}).block(program, args, {})[0]


class _Run:
    """A call of a method, and of the functions in it.

    Attributes:
        known: by the id of a small tensor that follows from numbers alone, itself and its value, which a trace would
            not tell; scripts of transforms look at such.
    """

    def __init__(self, module: Any, known: dict[int, tuple[Tensor, Tensor]]) -> None:
        self._module, self._known = module, known

    def block(self, program: Program, args: Sequence[Any], values: dict[int, Any]) -> list[Any]:
        """Takes the steps of a block, whose own values join ``values``."""
        values.update(program.constants)
        values.update(zip(program.inputs, args, strict=True))
        for step in program.steps:
            values.update(zip(step.outputs, self._take(step, values), strict=True))
        return [self._tensor(values[v]) for v in program.outputs]

    def _take(self, step: Step, values: dict[int, Any]) -> Sequence[Any]:
        """The values that a step gives."""
        args = [values[v] for v in step.inputs]
        if step.kind == "prim::If":
            return self.block(step.blocks[0 if self._truth(args[0], step) else 1], (), values)
        if step.kind == "prim::Loop":
            return self._loop(step, args, values)
        if step.function is not None:
            inside = _Run(self._module, self._known)
            return [inside.block(step.function, [self._tensor(a) for a in args], {})[0]]
        if step.kind == "prim::GetAttr":
            return [args[0].attribute(step.name)]
        if step.kind == "prim::CallMethod":
            target, *given = map(self._tensor, args)
            # Only so do hooks of a trace see which module it is.
            return [target(*given) if step.name == "forward" else target.call(step.name, given)]
        if step.kind in ("prim::TupleUnpack", "prim::ListUnpack"):
            return list(args[0])
        if step.kind == "prim::TupleConstruct":
            elements = [self._tensor(a) for a in args]
            return [namedtuple(*step.fields)(*elements) if step.fields else tuple(elements)]  # type: ignore[misc]
        if step.kind == "prim::isinstance":
            return [any(is_of_type(self._tensor(args[0]), kind) for kind in step.types)]
        if step.kind == "prim::RaiseException":
            raise ScriptRaised(str(args[0]))
        if step.kind == "prim::SetAttr":
            raise CaptureError(
                f"the script changes its attribute '{step.name}' as it runs{at(step)}; a fast module could not do so"
            )
        result = self._call(step, args)
        return [] if not step.outputs else [result] if len(step.outputs) == 1 else list(result)

    def _loop(self, step: Step, args: list[Any], values: dict[int, Any]) -> Sequence[Any]:
        trips, go_on, *carried = args
        index = 0
        while index < trips and self._truth(go_on, step):
            go_on, *carried = self.block(step.blocks[0], (index, *carried), values)
            index += 1
        return carried

    def _call(self, step: Step, args: list[Any]) -> Any:
        numbers = _numbers(args) if step.overload is None or _takes_tensors(step.overload) else args
        args = numbers if numbers is not None else [self._tensor(a) for a in args]
        if step.kind in _ASKS and isinstance(args[0], Tensor):
            return self._value(args[0], step)
        function = function_of(step.kind, step.overload, any(isinstance(a, Tensor) for a in args))
        if function is None:
            raise CaptureError(
                f"the script has the operator {step.kind}{at(step)}, which Python does not have; hand over the Python "
                "module that it was made of"
            )
        result = _applied(function, args)
        self._follow(step, function, args, result)
        return result

    def _follow(self, step: Step, function: Any, args: list[Any], result: Any) -> None:
        """Computes the value of a result that follows from numbers, besides the trace."""
        if step.overload is not None and step.overload._schema.is_mutable:
            # Others may be views of what has changed.
            if any(id(a) in self._known for a in args):
                self._known.clear()
            return
        tensors = [a for a in args if isinstance(a, Tensor)]
        if not isinstance(result, Tensor) or not all(id(t) in self._known for t in tensors):
            return
        if result.numel() > _FEW or not (tensors or step.kind in _MADE_OF_NUMBERS):
            return
        if any(isinstance(leaf, torch.SymInt | torch.SymFloat) for leaf in tree_leaves(args)):
            return
        with _disable_current_modes():
            value = _applied(function, [self._known[id(a)][1] if isinstance(a, Tensor) else a for a in args])
        self._known[id(result)] = result, value

    def _tensor(self, value: Any) -> Any:
        if isinstance(value, TensorConstant):
            return self._module.attribute(value.buffer)
        return [self._tensor(v) for v in value] if isinstance(value, list) and _has_constant(value) else value

    def _truth(self, value: Any, step: Step) -> bool:
        value = value.number if isinstance(value, TensorConstant) else value
        return bool(self._value(value, step) if isinstance(value, Tensor) else value)

    def _value(self, tensor: Tensor, step: Step) -> Any:
        try:
            value = self._known.get(id(tensor), (tensor, tensor))[1].item()
        except Exception:
            value = None
        if not isinstance(value, bool | int | float):
            raise CaptureError(
                f"the script asks for a tensor's value{at(step)}, which a trace does not have; decide on Python's own "
                "numbers, or when the module is made"
            )
        return value


def _applied(function: Any, args: list[Any]) -> Any:
    if isinstance(function, torch._ops.OpOverload):
        return function(*_positional(function, args), **_by_name(function, args))
    return function(*args)


def at(step: Step) -> str:
    """Where a step was written, for an error."""
    return f" at {step.line}" if step.line else ""


def _has_constant(values: list[Any]) -> bool:
    return any(isinstance(v, TensorConstant) for v in values)


def _takes_tensors(overload: torch._ops.OpOverload) -> bool:
    return any("Tensor" in str(a.type) for a in overload._schema.arguments)


def _numbers(args: list[Any]) -> list[Any] | None:
    """Arguments of an operator whose tensors are numbers, as a trace has those that it made of sizes; else None."""
    if not args or any(isinstance(a, Tensor | nn.Module) for a in args):
        return None
    if not any(isinstance(a, int | float | torch.SymInt | torch.SymFloat) for a in args[:2]):
        return None
    if any(isinstance(a, TensorConstant) and a.number is None for a in args):
        return None
    return [a.number if isinstance(a, TensorConstant) else a for a in args]


def _positional(overload: torch._ops.OpOverload, args: list[Any]) -> list[Any]:
    schema = overload._schema.arguments
    return [_argument(p, a) for p, a in zip(schema, args, strict=True) if not p.kwarg_only]


def _by_name(overload: torch._ops.OpOverload, args: list[Any]) -> dict[str, Any]:
    """Those arguments that are not what they are by default, for which a trace has nothing to say."""
    schema = overload._schema.arguments
    given = ((p, a) for p, a in zip(schema, args, strict=True) if p.kwarg_only)
    return {p.name: _argument(p, a) for p, a in given if not (p.has_default_value() and _same(p.default_value, a))}


def _same(default: Any, value: Any) -> bool:
    return default is value or (type(default) is type(value) and not isinstance(value, Tensor) and default == value)


def _argument(parameter: Any, value: Any) -> Any:
    if str(parameter.type) == "Tensor" and isinstance(value, int | float | torch.SymInt | torch.SymFloat):
        whole = isinstance(value, int | torch.SymInt)
        return torch.scalar_tensor(value, dtype=torch.int64 if whole else torch.float64, device="cpu")
    return named(str(parameter.real_type), value)
