"""A copy of a model to be traced, so that the model itself may run meanwhile and is left as it was."""

from __future__ import annotations

import functools
from collections import OrderedDict
from types import MethodType
from typing import Any

import torch
from torch import nn


def twin_of(model: nn.Module) -> nn.Module:
    """A model of its own modules, with the tensors of ``model``.

    A tracer puts tensors without values in the place of parameters, and models keep what they compute, counts and
    caches, in their attributes: all that happens to the twin. Plain containers (lists, tuples, sets, dicts) are new
    too, and bound methods are those of the twin's modules. Everything else is shared, functions that close over a
    module of the model among it.
    """
    made: dict[int, Any] = {}
    alive: list[Any] = []

    def keep(original: Any, copy: Any) -> Any:
        made[id(original)] = copy
        # An id is one object's for as long as it lives.
        alive.append(original)
        return copy

    def twin(value: Any) -> Any:
        if id(value) in made:
            return made[id(value)]
        kind = type(value)
        if isinstance(value, nn.Module) and not isinstance(value, torch.jit.ScriptModule):
            # Not the class's own way to be made, which might do more.
            module = keep(value, object.__new__(kind))
            vars(module).update((name, twin(attribute)) for name, attribute in vars(value).items())
            return module
        if kind in (dict, OrderedDict):
            mapping = keep(value, kind())
            mapping.update((key, twin(item)) for key, item in value.items())
            return mapping
        if kind is list:
            items = keep(value, [])
            items.extend(map(twin, value))
            return items
        if kind in (tuple, set):
            return keep(value, kind(map(twin, value)))
        if kind is MethodType:
            return MethodType(value.__func__, twin(value.__self__))
        if kind is functools.partial:
            return functools.partial(twin(value.func), *map(twin, value.args), **twin(value.keywords))
        return value

    result = twin(model)
    assert isinstance(result, nn.Module)
    return result
