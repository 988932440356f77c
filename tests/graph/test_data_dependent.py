"""What is said of an ``if`` that asks a tensor for its value, by the lines and modules that it was asked in."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import sympy
import torch
from torch import nn
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from inception_fast.graph.data_dependent import branch_on_values

PYTHONS = "decide on Python's own numbers"
VISIONS = "take the transform of the same name from torchvision.transforms.v2"


def failure(*calls: tuple[Any, str]) -> Exception:
    """Of methods of some objects in some files, each of which calls the next."""
    call: Any = None
    for owner, file in reversed(calls):
        names: dict[str, Any] = {"call": call, "error": GuardOnDataDependentSymNode(sympy.true, "asked")}
        exec(compile("def method(self):\n    if call: call()\n    raise error\n", file, "exec"), names)
        call = partial(names["method"], owner)
    try:
        call()
    except GuardOnDataDependentSymNode as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("file", "remedy"),
    [
        ("/site/torchvision/transforms/functional.py", VISIONS),
        ("/site/torchvision/models/layers.py", PYTHONS),
        ("/home/transforms/mine.py", PYTHONS),
        ("/home/mine.py", PYTHONS),
    ],
)
def test_transforms_have_sisters(file: str, remedy: str) -> None:
    model = nn.Sequential(nn.ReLU())
    found = branch_on_values(failure((model, "/home/model.py"), (model[0], file)), model)
    assert found is not None and str(found).startswith(f"module '0' asks for a tensor's value in Python at {file}:3,")
    assert remedy in str(found)


def test_lines_of_pytorch_and_of_no_file_are_not_the_users() -> None:
    model = nn.Sequential(nn.ReLU())
    frames = [(model, "/home/model.py"), (None, "<string>"), (None, torch.__file__)]
    found = branch_on_values(failure(*frames), model)
    assert found is not None and str(found).startswith(
        "the model asks for a tensor's value in Python at /home/model.py:2,"
    )


def test_the_innermost_module_is_named() -> None:
    """Not what it calls that is none."""
    model = nn.Sequential(nn.Sequential(nn.ReLU()))
    found = branch_on_values(failure((model[0], "/a.py"), (model[0][0], "/b.py"), (None, "/c.py")), model)
    assert found is not None and str(found).startswith("module '0.0' asks for a tensor's value in Python at /c.py:3,")


def test_any_other_error_is_left() -> None:
    assert branch_on_values(ValueError("asked"), nn.ReLU()) is None
