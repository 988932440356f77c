"""One operator of an ONNX graph, and the table of what each does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from inception_fast.errors import UnsupportedOpError

Rule = Callable[..., Any]

RULES: dict[str, Rule] = {}
"""By ONNX's name of the operator. A rule takes the node and its inputs in order, None for those left out, and returns
its first output, or a sequence where the operator has several. What a trace knows as numbers, sizes of tensors above
all, goes from rule to rule as Python's numbers and lists, see :mod:`.numbers`."""


def rule(*operators: str) -> Callable[[Rule], Rule]:
    """Enters a function in :data:`RULES`."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(operators, function))
        return function

    return register


@dataclass(frozen=True)
class OnnxNode:
    """Attributes:
    op: ONNX's name.
    name: the node's own in the file, or one made of its operator and position.
    attributes: numbers, strings, lists of them, and tensors; without defaults.
    outputs: how many there are; where one is the rule, how many up to the last that is read.
    """

    op: str
    name: str
    domain: str
    opset: int
    attributes: Mapping[str, Any]
    outputs: int = 1

    def get(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)

    def real(self, name: str, default: float) -> float:
        """A floating-point attribute, which ONNX keeps in float32, its defaults too."""
        return float(np.float32(self.attributes.get(name, default)))

    def refusal(self, reason: str) -> UnsupportedOpError:
        domain = self.domain or "ai.onnx"
        return UnsupportedOpError(self.op, self.name, "", f"{reason} (domain {domain}, opset {self.opset})")

    def require(self, condition: bool, reason: str) -> None:
        """Refuses the node for ``reason`` unless ``condition`` holds."""
        if not condition:
            raise self.refusal(reason)


class Operation(nn.Module):
    """A node as a module, so that traces and reports know it by its name."""

    def __init__(self, node: OnnxNode) -> None:
        super().__init__()
        self.node = node

    def forward(self, *inputs: Any) -> Any:
        return RULES[self.node.op](self.node, *inputs)

    def extra_repr(self) -> str:
        return self.node.op
