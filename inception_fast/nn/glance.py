"""Whether a module is still what it was, by a look that is short enough for every call."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import torch
from torch import nn

from inception_fast.nn.constants import attributes_in_forward


class Glance:
    """What a module and all in it were: modules, tensors and their versions, modes, attributes that ``forward`` reads.

    It may say that they have changed where a :class:`Fingerprint` says that they have not, and never the other way
    round, as long as what it was taken of is alive: it goes by identity. Made where there are no hooks, and no tensors
    of inference mode, which count no versions.

    Args:
        module: not kept alive, nor is anything in it.
        others: further values, of which it is the same.
    """

    def __init__(self, module: nn.Module, others: Callable[[], object]) -> None:
        self._module, self._others = weakref.ref(module), others
        parts = [module]
        for part in parts:
            parts += [m for m in part._modules.values() if m is not None]
        self._looks = [_look(part) for part in parts]
        self._state = self._now()

    @classmethod
    def of(
        cls, module: nn.Module, objection: Callable[[nn.Module], object], others: Callable[[], object] = tuple
    ) -> Glance | None:
        """A glance at a module; None where there can be none.

        Args:
            objection: why a part of it must not be computed by an engine, which a glance would not see.
        """
        try:
            glance = cls(module, others)
            return glance if glance._state is not None and not any(map(objection, module.modules())) else None
        except _UNREADABLE:
            return None

    def holds(self) -> bool:
        """Whether it would be the same now."""
        try:
            return bool(self._now() == self._state)
        except _UNREADABLE:
            return False

    def _now(self) -> object:
        """All of it, to be compared; None where a part is not what it was. Every step counts: the memory that it reads
        is in no cache after an engine has run.
        """
        module = self._module()
        if module is None:
            return None
        parts, tensors = [module], list[torch.Tensor | None]()
        for part, (kind, forward, get, attributes) in zip(parts, self._looks, strict=False):
            own = part.__dict__
            if type(part) is not kind or get(own) != attributes or id(own.get("forward")) != forward:
                return None
            if own["_forward_hooks"] or own["_forward_pre_hooks"]:
                return None
            if modules := own["_modules"]:
                parts += [m for m in modules.values() if m is not None]
            if parameters := own["_parameters"]:
                tensors += parameters.values()
            if buffers := own["_buffers"]:
                tensors += buffers.values()
        there = [t for t in tensors if t is not None]
        addresses, versions = [t.data_ptr() for t in there], [t._version for t in there]
        return list(map(id, parts)), list(map(id, tensors)), addresses, versions, self._others()


# Scripts and other modules without such attributes; tensors without memory or versions.
_UNREADABLE = (KeyError, AttributeError, RuntimeError, TypeError, ValueError)


def _look(part: nn.Module) -> tuple[type, int, Callable[[Any], Any], object]:
    """What is to be seen in one module besides its tables: its class and ``forward``, where its mode and attributes
    are, and what they are.
    """
    own = vars(part)
    get = itemgetter("training", *attributes_in_forward(part))
    # Lists among them may be written to.
    return type(part), id(own.get("forward")), get, copy.deepcopy(get(own))
