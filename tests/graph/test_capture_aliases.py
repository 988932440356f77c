"""PyTorch's other names for the operators that are served, from its own list of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from inception_fast.graph.aten import RULES
from inception_fast.graph.translate import ALIASES
from tests.graph.capturing import SHAPE, check

C = SHAPE[0]
# In a process of its own, for that module changes flags of PyTorch's; of what it imports one package may not be there.
LIST = """
import json, sys, types, unittest
sys.modules.setdefault("expecttest", types.ModuleType("expecttest")).TestCase = unittest.TestCase
from torch.testing._internal.common_methods_invocations import op_db
print(json.dumps({op.name: [a.name for a in op.aliases] for op in op_db if op.aliases}))
"""
CALLS: dict[str, Callable[[Callable[..., Any], Tensor], Any]] = {
    "mul": lambda f, x: f(x, 2.0),
    "sub": lambda f, x: f(x, 0.5),
    "div": lambda f, x: f(x, 3.0),
    "neg": lambda f, x: f(x),
    "clamp": lambda f, x: f(x, min=0.0, max=1.0),
    "max": lambda f, x: f(x, torch.tensor(0.25, dtype=x.dtype)),
    "min": lambda f, x: f(x, torch.tensor(0.25, dtype=x.dtype)),
    "matmul": lambda f, x: f(x.mean((2, 3)), torch.arange(3.0 * C, dtype=x.dtype).view(C, 3) - 4),
    "softmax": lambda f, x: f(x, dim=1),
    "log_softmax": lambda f, x: f(x, dim=1),
    "nn.functional.conv2d": lambda f, x: f(x, torch.arange(2.0 * C, dtype=x.dtype).view(2, C, 1, 1) - 3),
    "tanh": lambda f, x: f(x),
    "sigmoid": lambda f, x: f(x),
    "cat": lambda f, x: f([x, x], 1),
    "transpose": lambda f, x: f(f(x, 1, 3), 1, 3).relu(),
    "movedim": lambda f, x: f(f(x, 1, -1), 3, 1).relu(),
}


@cache
def listed() -> dict[str, list[str]]:
    """PyTorch's operators that have other names, and those."""
    done = subprocess.run([sys.executable, "-c", LIST], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def served() -> dict[str, list[str]]:
    known = {name.split(".")[1] for name in (*RULES, *(f"aten.{alias}" for alias in ALIASES))}
    return {name: others for name, others in listed().items() if known & {name.rpartition(".")[2], *others}}


def function(name: str) -> Callable[..., Any]:
    found: Any = torch
    for part in name.split("."):
        found = getattr(found, part)
    return found


def test_every_name_of_what_is_served_is_served() -> None:
    names = served()
    assert names.keys() == CALLS.keys(), "an operator with other names has no call here, or a call no operator"
    for name, others in names.items():
        kinds = {other: check(partial(_called, name, other))[1] for other in (name, *others)}
        assert len({tuple(found) for found in kinds.values()}) == 1, kinds


def _called(name: str, spelling: str, _: Any, x: Tensor) -> Any:
    return CALLS[name](function(spelling), x)
