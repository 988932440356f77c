"""Neighbours in an ``nn.Sequential`` that is not served as a whole, together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from inception_fast.errors import CaptureError, InputError, UnsupportedOpError
from inception_fast.graph.capture import capture
from inception_fast.nn.forms import Budget, Options
from inception_fast.nn.in_place import InPlace
from inception_fast.nn.installed import Installed
from inception_fast.nn.observing import Calls
from inception_fast.nn.original import Original
from inception_fast.tensors import is_traced


@dataclass(frozen=True)
class Run:
    """Parts that follow each other, as one engine.

    Attributes:
        names: of the parts.
        parts: a sequence of them, which nobody else has.
    """

    names: tuple[str, ...]
    parts: nn.Sequential
    fast: InPlace


class Runs(Installed, nn.Module):
    """Computes an ``nn.Sequential`` by its runs, with the parts between them as they are, as long as it has the parts
    that it had.
    """

    def __init__(self, module: nn.Sequential, runs: Sequence[Run]) -> None:
        super().__init__()
        # Past nn.Module's registration, which would repeat every name.
        vars(self)["module"], vars(self)["original"] = module, Original(module)
        starts = {run.names[0]: run.fast for run in runs}
        within = {name for run in runs for name in run.names[1:]}
        self._parts = tuple(module._modules.values())
        self._steps = [starts.get(name, part) for name, part in module._modules.items() if name not in within]

    def forward(self, x: Any) -> Any:
        """What the sequence returns.

        Raises:
            InputError: training mode.
        """
        self.check_inference()
        parts = tuple(self.module._modules.values())
        known = len(parts) == len(self._parts) and all(a is b for a, b in zip(parts, self._parts, strict=True))
        for step in self._steps if known and not is_traced() else parts:
            x = step(x)  # type: ignore[misc]
        return x


def find_runs(
    module: nn.Sequential, calls: Mapping[nn.Module, Calls], options: Options, budget: Budget
) -> Iterator[Run]:
    """The longest runs of two parts or more with a convolution in them, ready for the calls that were seen."""
    group: list[str] = []
    for name in [*module._modules, None]:
        if name is not None and _is_servable(module._modules[name], calls):
            group.append(name)
            continue
        parts = nn.Sequential(*(module._modules[n] for n in group))  # type: ignore[misc]
        parts.training = False
        if len(group) > 1 and any(isinstance(m, nn.Conv2d) for m in parts.modules()):
            fast = InPlace(parts, options, budget)
            try:
                for call in calls[parts[0]].all.values():
                    fast.prepare(call)
            except (InputError, UnsupportedOpError, CaptureError):
                pass
            else:
                yield Run(tuple(group), parts, fast)
        group = []


def _is_servable(part: nn.Module | None, calls: Mapping[nn.Module, Calls]) -> bool:
    if part is None or part not in calls or calls[part].other or not calls[part].images:
        return False
    try:
        capture(part, next(iter(calls[part].images.values())))
    except (InputError, UnsupportedOpError, CaptureError):
        return False
    return True
