"""What a model is called with: its arguments by name, and the tensors in them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from inception_fast.autocast import CASTS, autocast_dtype
from inception_fast.errors import InputError, InputTypeError
from inception_fast.graph.structure import TENSOR, OutputStructure
from inception_fast.tensors import in_memory

Extent = int | str


@dataclass(frozen=True)
class TensorSpec:
    """What holds for one tensor in the arguments.

    Attributes:
        shape: a name in place of a size that may vary; one name is one size, in all of the tensors.
    """

    shape: tuple[Extent, ...]
    dtype: torch.dtype

    def __str__(self) -> str:
        return f"[{', '.join(map(str, self.shape))}]"


class Signature:
    """The parameters of a model's ``forward``, and which of them are given.

    Args:
        parameters: all of them.
        given: those that get a value; the others keep their defaults.
    """

    def __init__(self, parameters: Sequence[inspect.Parameter], given: Sequence[str]) -> None:
        self.parameters, self.given = tuple(parameters), tuple(given)
        self._signature = inspect.Signature(parameters)
        plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        first = [p.name for p in parameters if p.kind in plain][: len(given)]
        self._positional = len(given) if first == list(given) else -1

    def collects(self, name: str) -> bool:
        """Whether a parameter is the one for all other keywords."""
        return self._signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """The values of the parameters that are given, in order.

        Raises:
            InputTypeError: these are not the arguments.
        """
        if not kwargs and len(args) == self._positional:
            return list(args)
        try:
            bound = self._signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise InputTypeError("arguments", str(error), f"those of forward{self._signature}") from None
        for name, value in bound.items():
            if name not in self.given and value is not self._signature.parameters[name].default:
                raise InputTypeError(name, type(value).__name__, "to be left out, as it was in the example")
        for name in self.given:
            if name not in bound:
                default = self._signature.parameters[name].default
                if default is inspect.Parameter.empty:
                    kind = self._signature.parameters[name].kind
                    default = () if kind is inspect.Parameter.VAR_POSITIONAL else {}
                bound[name] = default
        return [bound[name] for name in self.given]

    def call(self, values: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What to call the model with, from the values of :meth:`bind`."""
        bound = inspect.BoundArguments(self._signature, dict(zip(self.given, values, strict=True)))  # type: ignore[arg-type]
        return bound.args, bound.kwargs


@dataclass(frozen=True)
class Example:
    """What somebody would call a model with.

    Attributes:
        structure: of the list of values.
        tensors: in order.
    """

    signature: Signature
    structure: OutputStructure
    tensors: tuple[Tensor, ...]

    @staticmethod
    def of(model: nn.Module, given: Any) -> Example:
        """The arguments in what ``optimize`` was given.

        Args:
            given: one tensor; a tuple or list of positional arguments; or keyword arguments by name.

        Raises:
            InputError: they are not arguments of the model, or no tensor is among them.
        """
        kwargs = dict(given) if isinstance(given, Mapping) else {}
        args = (given,) if isinstance(given, Tensor) else () if isinstance(given, Mapping) else given
        if not isinstance(args, tuple | list):
            raise InputTypeError(
                "example_inputs", type(given).__name__, "a torch.Tensor [N, C, H, W], or a sequence of the arguments"
            )
        return Example.of_call(model, args, kwargs)

    @staticmethod
    def of_call(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Example:
        """:meth:`of` for positional and keyword arguments."""
        signature = inspect.signature(model.forward)
        try:
            bound = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise InputError("example_inputs", str(error), f"the arguments of forward{signature}") from None
        values = list(bound.values())
        try:
            structure = OutputStructure(_sample(values))
        except InputTypeError as error:
            got = error.got.replace("an output of", "an argument of", 1) if isinstance(error.got, str) else error.got
            raise InputTypeError("example_inputs", got, "tensors and numbers in tuples, lists and dicts") from None
        tensors = tuple(tensor for _, tensor in structure.flatten(values, "example_inputs"))
        if not tensors:
            raise InputError("example_inputs", f"{len(values)} arguments without a tensor", "at least one tensor")
        checked = tuple(in_memory("example_inputs", tensor) for tensor in tensors)
        for tensor in checked:
            if tensor.numel() == 0:
                raise InputError("example_inputs", f"shape {tuple(tensor.shape)}", "at least one element")
        return Example(Signature(list(signature.parameters.values()), list(bound)), structure, checked)

    @property
    def device(self) -> torch.device:
        return self.tensors[0].device

    def call(self, tensors: Sequence[Any] | None = None) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments, with other tensors where there are any."""
        return self.signature.call(self.structure.unflatten(self.tensors if tensors is None else tensors))

    def batched(self) -> list[int]:
        """Which of the tensors seem to have the batch as their first dimension."""
        images = max(self.tensors, key=lambda t: t.dim())
        if images.dim() == 0 or (images.dim() == 3 and images.shape[0] == 1):
            return []
        batch = images.shape[0]
        return [i for i, t in enumerate(self.tensors) if t.dim() and t.shape[0] == batch]


def _sample(value: Any) -> Any:
    """``value`` with TENSOR in place of its tensors."""
    if isinstance(value, Tensor):
        return TENSOR
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_sample, value))
    if isinstance(value, tuple | list):
        return type(value)(map(_sample, value))
    if isinstance(value, dict):
        return type(value)((key, _sample(item)) for key, item in value.items())
    return value


@dataclass(frozen=True)
class Contract:
    """What the calls of a partitioned model have in common.

    Attributes:
        structure: of the list of values of ``signature``, constants among them.
        tensors: in the order of ``structure``.
    """

    signature: Signature
    structure: OutputStructure
    tensors: tuple[TensorSpec, ...]

    @cached_property
    def has_room_for_out(self) -> bool:
        """Whether ``out`` is no argument of the model's own."""
        given = zip(self.signature.given, self.structure.sample, strict=True)
        by_name = [sample for name, sample in given if self.signature.collects(name) and isinstance(sample, dict)]
        return not any(p.name == "out" for p in self.signature.parameters) and not any("out" in d for d in by_name)

    def tensors_of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[tuple[str, Tensor]]:
        """The tensors of a call, each with its name; nothing is said of what they are.

        Raises:
            InputError: the structure is another one, or a constant has another value.
        """
        values = self.signature.bind(args, kwargs)
        found: list[tuple[str, Tensor]] = []
        for name, sample, value in zip(self.signature.given, self.structure.sample, values, strict=True):
            if sample is TENSOR:
                found.append((name, value))
                continue
            try:
                found += OutputStructure(sample).flatten(value, name)
            except InputError as error:
                expected = str(error.expected).replace("as the model returns", "as in the example")
                raise type(error)(error.argument, error.got, expected) from None
        return found

    def checked(self, args: Sequence[Any], kwargs: Mapping[str, Any], device: torch.device | None) -> list[Tensor]:
        """The tensors of a call, which fit; under ``torch.autocast``, which may have given them another floating-point
        type, in those of the contract.

        Args:
            device: where they have to be; None for any, the same for all.

        Raises:
            InputError: names what does not fit.
        """
        sizes: dict[str, tuple[int, str]] = {}
        tensors = []
        for (name, given), spec in zip(self.tensors_of(args, kwargs), self.tensors, strict=True):
            x = in_memory(name, given)
            if x.dtype is not spec.dtype and CASTS.issuperset((x.dtype, spec.dtype)) and autocast_dtype(x.device):
                x = x.to(spec.dtype)
            if x.dtype is not spec.dtype:
                raise InputTypeError(name, x.dtype, spec.dtype)
            if x.dim() != len(spec.shape):
                raise InputError(name, f"rank {x.dim()} (shape {list(x.shape)})", f"rank {len(spec.shape)}, {spec}")
            for extent, wanted in zip(x.shape, spec.shape, strict=True):
                if isinstance(wanted, int):
                    if extent != wanted:
                        raise InputError(name, f"shape {list(x.shape)}", str(spec))
                    continue
                known, other = sizes.setdefault(wanted, (extent, name))
                if known != extent:
                    raise InputError(name, f"shape {list(x.shape)}", f"{spec}, where {wanted} is {known} in {other}")
            device = device or x.device
            if x.device != device:
                raise InputError(name, f"device {x.device}", f"{device}, as the weights and the other arguments")
            tensors.append(x)
        return tensors
