"""Exported programs' modules, which take a keyword by name alone."""

from __future__ import annotations

import inspect
from types import MethodType
from typing import Any

from torch import fx, nn

from inception_fast.graph.foreign import is_exported
from inception_fast.graph.twin import twin_of


def named_arguments(module: nn.Module) -> nn.Module:
    """A module whose signature says which arguments are keywords, where ``module`` was exported with some; else itself.

    What PyTorch writes would take them by position, and then refuses them.
    """
    spec = getattr(module, "_in_spec", None)
    if not is_exported(module) or spec is None or spec.num_children != 2:
        return module
    keywords = spec.child(1).context
    if not keywords:
        return module
    plain = inspect.signature(module.forward)
    parameters = [p.replace(kind=p.KEYWORD_ONLY) if p.name in keywords else p for p in plain.parameters.values()]
    receiver = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    run = type(module).forward

    def forward(self: fx.GraphModule, *args: Any, **kwargs: Any) -> Any:
        return run(self, *args, **kwargs)

    forward.__signature__ = inspect.Signature([receiver, *parameters])  # type: ignore[attr-defined]
    twin = twin_of(module)
    vars(twin)["forward"] = MethodType(forward, twin)
    return twin
