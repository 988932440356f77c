"""TorchScript's operators on Python's own values (numbers, strings, lists, dicts), and what tensors say of themselves.

All others are PyTorch's own, which Python calls as ``torch.ops``.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import SymBool, SymFloat, SymInt, Tensor

_SCALAR_TYPES = (
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64,
    torch.complex32, torch.complex64, torch.complex128, torch.bool, torch.qint8, torch.quint8, torch.qint32,
    torch.bfloat16,
)  # fmt: skip
"""By PyTorch's numbers of them, which scripts have in their place."""
_MEMORY_FORMATS = (torch.contiguous_format, torch.preserve_format, torch.channels_last, torch.channels_last_3d)
_LAYOUTS = (torch.strided,)
_ENUMS: dict[str, tuple[Any, ...]] = {
    "ScalarType": _SCALAR_TYPES,
    "MemoryFormat": _MEMORY_FORMATS,
    "Layout": _LAYOUTS,
}


def named(enum: str, value: Any) -> Any:
    """A dtype, memory format or layout from its number; anything else as it is.

    Args:
        enum: the type in a schema, ``Optional[...]`` or not.
    """
    members = _ENUMS.get(enum.removeprefix("Optional[").removesuffix("]"))
    return members[value] if members is not None and type(value) is int else value


def _to_int(value: Any) -> Any:
    if isinstance(value, SymFloat):
        return torch.sym_int(value)
    return value if isinstance(value, SymInt) else int(value)


def _to_float(value: Any) -> Any:
    return torch.sym_float(value) if isinstance(value, SymInt | SymFloat) else float(value)


def _to_bool(value: Any) -> Any:
    return value if isinstance(value, SymBool) else bool(value)


def _div(a: Any, b: Any, rounding_mode: str | None = None) -> Any:
    if rounding_mode is None:
        return a / b
    return a // b if rounding_mode == "floor" else _to_int(a / b)


def _slice(values: Any, start: int | None = None, stop: int | None = None, step: int = 1) -> Any:
    return values[start:stop:step]


def _sub(a: Any, b: Any, alpha: Any = 1) -> Any:
    return a - (b if alpha == 1 else alpha * b)


def _add(a: Any, b: Any, alpha: Any = 1) -> Any:
    return a + (b if isinstance(b, str | list) or alpha == 1 else alpha * b)


def _append(values: list[Any], value: Any) -> list[Any]:
    values.append(value)
    return values


def _range_length(low: Any, high: Any, step: Any) -> Any:
    return len(range(low, high, step))


def _least(*values: Any) -> Any:
    return torch.sym_min(*values) if len(values) == 2 and not isinstance(values[0], list) else min(*values)


def _most(*values: Any) -> Any:
    return torch.sym_max(*values) if len(values) == 2 and not isinstance(values[0], list) else max(*values)


def _size(x: Tensor, dimension: int | None = None) -> Any:
    return list(x.shape) if dimension is None else x.shape[dimension]


def _to(x: Tensor, *args: Any) -> Tensor:
    """``to.prim_dtype``, ``to.prim_device`` and ``to.prim_other``, which only scripts have."""
    dtypes = [named("ScalarType", a) for a in args if type(a) is int]
    devices = [a for a in args if isinstance(a, torch.device | str)]
    flags = [a for a in args if isinstance(a, bool)]
    return x.to(
        device=devices[0] if devices else None,
        dtype=dtypes[0] if dtypes else None,
        non_blocking=flags[0],
        copy=flags[1],
    )


def _tensor(data: Any, dtype: int | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    return torch.tensor(data, dtype=named("ScalarType", dtype), device=device)


def _as_tensor(data: Any, dtype: int | None = None, device: Any = None) -> Tensor:
    return torch.as_tensor(data, dtype=named("ScalarType", dtype), device=device)


def _convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, transposed: bool,
    output_padding: Any, groups: int, *_: bool,
) -> Tensor:  # fmt: skip
    """What a trace has in place of ``conv2d``."""
    if not transposed and x.dim() == 4:
        return torch.ops.aten.conv2d.default(x, weight, bias, stride, padding, dilation, groups)
    return torch.ops.aten.convolution.default(
        x, weight, bias, stride, padding, dilation, transposed, output_padding, groups
    )


def _nothing(*_: Any) -> None:
    """For what only talks."""


VALUES: dict[str, Callable[..., Any]] = {
    "add": _add,
    "add_": operator.iadd,
    "sub": _sub,
    "rsub": lambda a, b, alpha=1: _sub(b, a, alpha),
    "mul": operator.mul,
    "div": _div,
    "floordiv": operator.floordiv,
    "floor_divide": operator.floordiv,
    "remainder": operator.mod,
    "pow": operator.pow,
    "neg": operator.neg,
    "abs": abs,
    "ceil": math.ceil,
    "floor": math.floor,
    "round": round,
    "sqrt": math.sqrt,
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "__and__": operator.and_,
    "__or__": operator.or_,
    "__xor__": operator.xor,
    "__not__": operator.not_,
    "__is__": operator.is_,
    "__isnot__": operator.is_not,
    "__contains__": operator.contains,
    "__getitem__": operator.getitem,
    "_set_item": operator.setitem,
    "__range_length": _range_length,
    "__derive_index": lambda index, start, step: start + index * step,
    "Int": _to_int,
    "IntImplicit": _to_int,
    "Float": _to_float,
    "FloatImplicit": _to_float,
    "Bool": _to_bool,
    "ScalarImplicit": lambda value: value,
    "slice": _slice,
    "str": str,
    "keys": lambda values: list(values.keys()),
    "values": lambda values: list(values.values()),
    "items": lambda values: list(values.items()),
    "list": list,
    "dict": dict,
    "copy": lambda values: type(values)(values),
}
"""``aten::`` operators none of whose arguments is a tensor."""

CONTAINERS: dict[str, Callable[..., Any]] = {
    "aten::__is__": operator.is_,
    "aten::__isnot__": operator.is_not,
    "aten::append": _append,
    "aten::extend": lambda values, more: values.extend(more),
    "aten::insert": lambda values, place, value: values.insert(place, value),
    "aten::pop": lambda values, place=-1: values.pop(place),
    "aten::list": list,
    "aten::keys": VALUES["keys"],
    "aten::values": VALUES["values"],
    "aten::items": VALUES["items"],
    "aten::_set_item": operator.setitem,
    "aten::len": lambda values: values.shape[0] if isinstance(values, Tensor) else len(values),
    "aten::format": str.format,
    "aten::__getitem__": operator.getitem,
    "aten::_unwrap_optional": lambda value: value,
    "aten::size": _size,
    "aten::dim": Tensor.dim,
    "aten::numel": Tensor.numel,
    "aten::tensor": _tensor,
    "aten::as_tensor": _as_tensor,
    "aten::_convolution": _convolution,
    "aten::warn": _nothing,
    "prim::Print": _nothing,
    "prim::TupleIndex": operator.getitem,
    "prim::TupleSlice": lambda values, start, stop: values[start:stop],
    "prim::ListConstruct": lambda *values: list(values),
    "prim::DictConstruct": lambda *values: dict(zip(values[::2], values[1::2], strict=True)),
    "prim::NumToTensor": lambda value: value,
    "prim::unchecked_cast": lambda value: value,
    "prim::unchecked_unwrap_optional": lambda value: value,
    "prim::Uninitialized": _nothing,
    "prim::min": _least,
    "prim::max": _most,
    "prim::abs": abs,
    "prim::EnumValue": lambda member: member.value,
    "prim::EnumName": lambda member: member.name,
    "prim::dtype": lambda x: _SCALAR_TYPES.index(x.dtype),
    "prim::device": lambda x: x.device,
    "prim::layout": lambda x: 0,
    "prim::is_cuda": lambda x: x.is_cuda,
    "prim::is_quantized": lambda x: x.is_quantized,
    "prim::requires_grad": lambda x: False,
}
"""Operators that are the same for values and tensors, or no operators of PyTorch's."""


_PYTHON: dict[str, Any] = {
    "TensorType": Tensor,
    "IntType": (int, SymInt),
    "FloatType": (float, SymFloat),
    "BoolType": (bool, SymBool),
    "StringType": str,
    "NoneType": type(None),
    "ListType": list,
    "TupleType": tuple,
    "DictType": dict,
}


def is_of_type(value: Any, kind: tuple[Any, ...]) -> bool:
    """Whether a script takes a value for one of a type.

    Args:
        kind: the name of the type, and the kinds of what it contains.
    """
    name, inside = kind
    if name not in _PYTHON or not isinstance(value, _PYTHON[name]):
        return False
    if isinstance(value, bool) != (name == "BoolType"):
        return False
    return name != "ListType" or all(is_of_type(element, inside[0]) for element in value)


def function_of(kind: str, overload: torch._ops.OpOverload | None, tensors: bool) -> Callable[..., Any] | None:
    """What computes an operator; None where nobody knows.

    Args:
        tensors: whether one of its arguments is a tensor; lists of them do not count.
    """
    if kind in CONTAINERS:
        return CONTAINERS[kind]
    if kind == "aten::to" and overload is not None and overload._overloadname.startswith("prim_"):
        return _to
    namespace, _, name = kind.partition("::")
    if namespace == "aten" and not tensors and name in VALUES:
        return VALUES[name]
    return None if overload is None or _writes_to_container(overload) else overload


def _writes_to_container(overload: torch._ops.OpOverload) -> bool:
    """Whether it changes a list or dict, of which PyTorch would get a copy."""
    written = (a for a in overload._schema.arguments if a.alias_info is not None and a.alias_info.is_write)
    return any(str(a.type) != "Tensor" for a in written)
