"""What goes into JSON files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import inf, nan

import torch

from inception_fast.bench.environment import environment
from inception_fast.bench.record import jsonable


@dataclass(frozen=True)
class Inner:
    value: float


@dataclass(frozen=True)
class Outer:
    inner: Inner
    many: tuple[Inner, ...]


def test_dataclasses_become_dicts_all_the_way_down() -> None:
    assert jsonable(Outer(Inner(1.0), (Inner(2.0),))) == {"inner": {"value": 1.0}, "many": [{"value": 2.0}]}


def test_what_json_cannot_say_becomes_null() -> None:
    assert jsonable({"a": nan, "b": [inf, -inf, 0.5]}) == {"a": None, "b": [None, None, 0.5]}


def test_the_environment_says_what_a_reader_needs_to_repeat_it() -> None:
    found = jsonable(environment(torch.device("cpu")))
    json.dumps(found, allow_nan=False)
    assert found["versions"]["torch"] == torch.__version__.split("+")[0]
    assert found["command"]
    assert found["cpu"]["usable_cores"] >= 1
    assert found["gpu"] is None
    assert {"commit", "package", "python", "system", "torch_config"} <= set(found)
    assert found["torch_config"] and not any("/" in line for line in found["torch_config"] if "FLAGS" in line)
