"""The table of rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from inception_fast.graph import ir
from inception_fast.graph.builder import CannotExpress, Const, Data, Symbolic, batched

Rule = Callable[..., Any]
Ints = int | Sequence[int]

RULES: dict[str, Rule] = {}
"""By the name of the ATen op. A rule takes the Builder, the Place and the op's arguments in the order of its schema."""


def rule(*ops: str) -> Callable[[Rule], Rule]:
    """Enters a function in :data:`RULES` for the ops named."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys((f"aten.{op}" for op in ops), function))
        return function

    return register


ANY_ORDER: set[Rule] = set()
"""Rules that take an image whose dimensions have changed places, next to constants; the others need not look."""


def in_any_order(function: Rule) -> Rule:
    """Enters a rule in :data:`ANY_ORDER`."""
    ANY_ORDER.add(function)
    return function


def image(x: Any) -> Data:
    """``x`` if it has channels, a height and a width."""
    source = data(x)
    require(len(source.shape) == 3, f"it is applied to {batched(source.shape)} in place of images (N, C, H, W)")
    return source


def data(x: Any) -> Data:
    """``x`` if it is a plain value that depends on the input."""
    if not isinstance(x, Data):
        raise CannotExpress(f"it is applied to {x if isinstance(x, Symbolic) else 'a constant'}")
    return x


def constant(x: Any, what: str) -> Const:
    """``x`` if it does not depend on the input."""
    if not isinstance(x, Const):
        raise CannotExpress(f"its {what} depends on the input")
    return x


def pair(value: Ints, default: ir.Pair | None = None) -> ir.Pair:
    """A size as ATen writes it, ``k``, ``[k]``, ``[kh, kw]`` or ``[]``, as (vertical, horizontal)."""
    sizes = [value] if isinstance(value, int) else list(value)
    if not sizes and default is not None:
        return default
    if len(sizes) not in (1, 2) or not all(isinstance(s, int) for s in sizes):
        raise CannotExpress(f"the size {sizes} is not a fixed pair")
    return (sizes[0], sizes[-1])


def require(condition: bool, reason: str) -> None:
    """Refuses the op for ``reason`` unless ``condition`` holds."""
    if not condition:
        raise CannotExpress(reason)
