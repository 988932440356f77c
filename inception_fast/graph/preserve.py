"""Running a model for its trace only, with nothing of it left behind."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

_CONTAINERS = (list, dict, set, OrderedDict)


@contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Takes new attributes off every module afterwards; lists, dicts and sets among the old get their items back.

    Models and hooks that keep an activation would otherwise keep a tracer's. ``torch.export`` itself restores the
    attributes that were there before, and no more.
    """
    attributes = [(vars(module), set(vars(module))) for module in model.modules()]
    containers = [
        (value, value.copy()) for live, _ in attributes for value in live.values() if type(value) in _CONTAINERS
    ]
    try:
        with warnings.catch_warnings():
            # Of attributes that were given a tensor, which is mended below.
            warnings.filterwarnings("ignore", r"The tensor attributes? .* assigned during export", UserWarning)
            yield
    finally:
        for live, known in attributes:
            for name in live.keys() - known:
                del live[name]
        for container, items in containers:
            if not _same(container, items):
                container.clear()
                container.extend(items) if isinstance(container, list) else container.update(items)


def _same(a: Any, b: Any) -> bool:
    """The same objects in the same order. Equality is no help: that of two tensors is a tensor."""
    if isinstance(a, dict):
        return _same([*a.keys(), *a.values()], [*b.keys(), *b.values()])
    return len(a) == len(b) and all(x is y for x, y in zip(a, b, strict=True))
