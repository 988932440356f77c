"""Modules of ``torch.jit`` (scripted, traced, frozen, loaded from a file) as modules of Python's.

PyTorch's own converter is private, takes no keywords, and tells parameters from buffers by their values. Here the
script runs as it is, step by step in Python, so that whatever traces a module traces a script: branches on constants
and loops are taken, parameters keep their names, and modules their paths.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from inception_fast.artefacts.torchscript_program import Program, Step, program_of
from inception_fast.artefacts.torchscript_run import at, run
from inception_fast.errors import CaptureError, InputTypeError

_MANGLED = re.compile(r"___torch_mangle_\d+\.")
_QUANTISED = ("quantized::", "aten::quantize_per_", "aten::dequantize")
_COMPILED = ("mkldnn", "MKLDNN", "tensorrt", "TensorExpr", "FusionGroup")


class Script(nn.Module):
    """What a module of ``torch.jit`` computes, in Python; made by :func:`import_script`."""

    def __init__(self) -> None:
        super().__init__()
        self._programs: dict[str, Program] = {}
        self._values: dict[str, Any] = {}

    def attribute(self, name: str) -> Any:
        """The parameter, buffer, module or other value of that name."""
        for table in (self._parameters, self._buffers, self._modules, self._values):
            if name in table:
                return table[name]
        return self.training

    def call(self, method: str, args: Sequence[Any]) -> Any:
        """What a method of the script returns for all of its arguments."""
        return run(self._programs[method], self, (self, *args))


def import_script(script: torch.jit.ScriptModule) -> Script:
    """A module that computes what ``script`` does, with its parameters and buffers themselves.

    Raises:
        InputTypeError: it is quantised, or compiled for one machine.
        CaptureError: it has hooks, which would be lost.
    """
    pairs: list[tuple[Script, Any]] = []
    result = _imported(script, pairs)
    steps = [step for module, _ in pairs for program in module._programs.values() for step in _steps(program)]
    for step in steps:
        _check(step)
    names = {step.name for step in steps if step.kind == "prim::GetAttr"}
    for module, native in pairs:
        _add_values(module, native, names)
    return result


def _check(step: Step) -> None:
    """Refuses operators that say that the script is no longer what was scripted."""
    if step.kind.startswith(_QUANTISED):
        floating = "the floating-point model that it was made of; precision='int8' quantises that"
        raise InputTypeError("model", f"a quantised script of torch.jit ({step.kind}{at(step)})", floating)
    if any(word in step.kind for word in _COMPILED):
        before = "the script as it was before torch.jit.optimize_for_inference or the like"
        raise InputTypeError("model", f"a compiled script of torch.jit ({step.kind}{at(step)})", before)


def _imported(script: Any, pairs: list[tuple[Script, Any]]) -> Script:
    native = script._c
    if native._get_forward_hooks() or native._get_forward_pre_hooks():
        raise CaptureError("the script has forward hooks, which are no part of its graph; remove them before scripting")
    module = _kind(_MANGLED.sub("", native._type().qualified_name()))()
    pairs.append((module, native))
    # Flags of what is frozen are gone.
    module.training = getattr(script, "training", False)
    # A module's own ways to register refuse names that a script may have.
    module._parameters.update((n, _parameter(p)) for n, p in script.named_parameters(recurse=False))
    module._buffers.update(script.named_buffers(recurse=False))
    for name, child in script._modules.items():
        module._modules[name] = _imported(child, pairs)
    for name in native._method_names():
        method = native._get_method(name)
        module._programs[name] = program_of(method.graph, functools.partial(_adopt, module))
        vars(module)[name] = MethodType(_method(name, method.schema.arguments), module)
    return module


def _parameter(tensor: Tensor) -> nn.Parameter:
    """Those of a script from a file are tensors, to be told from buffers by their place alone."""
    return tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor.detach(), tensor.requires_grad)


@functools.cache
def _kind(qualified: str) -> type[Script]:
    """A class with the name of the one that was scripted, which reports show."""
    home, _, name = qualified.removeprefix("__torch__.").rpartition(".")
    return type(name, (Script,), {"__module__": home or "__torch__"})


def _adopt(module: Script, tensor: Tensor, name: str) -> str:
    """Makes a constant of a graph a buffer, so that it follows its module to a device."""
    stem = re.sub(r"\W", "_", name.removeprefix("self.")) or "constant"
    name = next(n for n in _candidates(stem) if n not in module._buffers and n not in module._parameters)
    module._buffers[name] = tensor.detach()
    module._non_persistent_buffers_set.add(name)
    return name


def _candidates(stem: str) -> Iterator[str]:
    stem = f"constant{stem}" if stem.isdigit() else stem
    yield stem
    count = 1
    while True:
        yield f"{stem}_{count}"
        count += 1


def _method(name: str, arguments: Sequence[Any]) -> Callable[..., Any]:
    """A method of a :class:`Script` with the parameters and defaults of the script's."""
    plain, by_name = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(
            a.name,
            by_name if a.kwarg_only else plain,
            default=a.default_value if a.has_default_value() else inspect.Parameter.empty,
        )
        for a in arguments
    ]
    signature = inspect.Signature(parameters)

    def method(self: Script, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        return self.call(name, list(bound.arguments.values())[1:])

    method.__name__, method.__signature__ = name, signature  # type: ignore[attr-defined]
    return method


def _steps(program: Program) -> Iterator[Step]:
    for step in program.steps:
        yield step
        inside: Iterable[Program | None] = (*step.blocks, step.function)
        for block in inside:
            if block is not None:
                yield from _steps(block)


def _add_values(module: Script, native: Any, names: Iterable[str]) -> None:
    """Attributes that are neither parameters, buffers nor modules; a tensor becomes a buffer."""
    tables = (module._parameters, module._buffers, module._modules)
    for name in names:
        if name == "training" or any(name in table for table in tables) or not native.hasattr(name):
            continue
        value = native.getattr(name)
        if isinstance(value, Tensor):
            module._buffers[name] = value
            module._non_persistent_buffers_set.add(name)
        else:
            module._values[name] = value
