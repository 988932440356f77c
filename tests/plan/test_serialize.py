"""A Plan's JSON form: exact there and back, the same bytes each time, and strict."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from inception_fast.errors import EngineFileError, PlanError
from inception_fast.plan import strict_json
from inception_fast.plan.plan import Plan
from inception_fast.plan.serialize import decode, plan_from_json, plan_to_json
from tests.plan.tiny_engine import tiny_plan


@pytest.fixture
def document() -> dict[str, Any]:
    return json.loads(plan_to_json(tiny_plan()))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_there_and_back(dtype: str) -> None:
    plan = tiny_plan(dtype)
    assert plan_from_json(plan_to_json(plan)) == plan


def test_equal_plans_give_equal_bytes() -> None:
    plan = tiny_plan()
    shuffled = replace(plan, constants=dict(reversed(plan.constants.items())))
    assert plan_to_json(shuffled) == plan_to_json(plan) == plan_to_json(plan_from_json(plan_to_json(plan)))


def test_every_field_is_there_under_its_own_name(document: dict[str, Any]) -> None:
    assert document["buffers"][2] == {
        "name": "pooled",
        "height": 3,
        "width": 3,
        "channels": 8,
        "home": "arena",
        "offset": 320,
    }
    assert [s["kind"] for s in document["steps"]] == [
        "conv",
        "pair",
        "pool",
        "pointwise",
        "resize",
        "pool",
        "normalize",
    ]
    assert document["steps"][0]["conv"]["taps"][0] == [-1, -1]
    assert document["steps"][1]["residual"] == {"buffer": 0, "start": 0, "channels": 3}
    assert document["steps"][1]["first"]["bias"] is None
    assert document["steps"][6]["eps"] == 1e-12
    assert list(document["constants"]) == sorted(document["constants"])


def test_cpp_reads_the_same_plan() -> None:
    native = pytest.importorskip("inception_fast._native")
    plan = tiny_plan("bfloat16")
    assert decode(Plan, native.parse_plan(plan_to_json(plan)), "plan") == plan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("arena"), "plan: missing key 'arena'"),
        (lambda d: d.update(extra=1), "plan: unknown key 'extra'"),
        (lambda d: d.update(arena="448"), "plan.arena: got '448', expected an integer"),
        (lambda d: d.update(arena=True), "plan.arena: got 'True', expected an integer"),
        (lambda d: d.update(arena=448.0), "plan.arena: got '448.0', expected an integer"),
        (lambda d: d["buffers"][1].update(home="heap"), r"plan.buffers\[1\].home: got 'heap', expected one of input"),
        (lambda d: d["buffers"][1].pop("name"), r"plan.buffers\[1\]: missing key 'name'"),
        (lambda d: d["steps"][0].update(kind="gemm"), r"plan.steps\[0\].kind: got 'gemm', expected one of conv, pair"),
        (lambda d: d["steps"].insert(0, None), r"plan.steps\[0\]: got 'None', expected an object"),
        (lambda d: d["steps"][0].pop("kind"), r"plan.steps\[0\].kind: got 'None', expected one of conv"),
        (lambda d: d["steps"][0]["conv"].update(stride=[1]), r"conv.stride: got '1 items', expected 2"),
        (lambda d: d["steps"][0]["conv"].update(weight=None), r"conv.weight: got 'None', expected a string"),
        (lambda d: d["steps"][0].update(residual=[]), r"steps\[0\].residual: got '\[\]', expected an object"),
        (lambda d: d["steps"][6].update(eps="1"), r"plan.steps\[6\].eps: got '1', expected a number"),
        (lambda d: d.update(stages=None), "plan.stages: got 'None', expected an array"),
        (lambda d: d["constants"].update(x={}), r"plan.constants\['x'\]: missing key"),
    ],
)
def test_a_wrong_shape_is_named(document: dict[str, Any], change: Any, message: str) -> None:
    change(document)
    text = strict_json.dumps(document)
    with pytest.raises(EngineFileError, match=message):
        plan_from_json(text)


def test_a_broken_rule_is_a_plan_error(document: dict[str, Any]) -> None:
    document["steps"][0]["source"]["buffer"] = 99
    with pytest.raises(PlanError, match="step conv: no buffer 99"):
        plan_from_json(strict_json.dumps(document))


def test_an_integer_serves_as_a_number(document: dict[str, Any]) -> None:
    document["steps"][6]["eps"] = 1
    step = plan_from_json(strict_json.dumps(document)).steps[6]
    assert type(step.eps) is float and step.eps == 1.0  # type: ignore[union-attr]


def test_what_has_no_json_form_is_not_written() -> None:
    for value in (float("nan"), {"a": {1, 2}}, "\ud800"):
        with pytest.raises(EngineFileError, match="cannot be written as JSON"):
            strict_json.dumps(value)


NEST = 100
REFUSED = {
    "": "not valid JSON",
    "{": "not valid JSON",
    "[1,]": "not valid JSON",
    "[1] 2": "not valid JSON",
    "01": "not valid JSON",
    "1.": "not valid JSON",
    ".5": "not valid JSON",
    "+1": "not valid JSON",
    "0x10": "not valid JSON",
    "nul": "not valid JSON",
    "'a'": "not valid JSON",
    '"\t"': "not valid JSON",
    '"\\x41"': "not valid JSON",
    '"\\u12"': "not valid JSON",
    "\ufeff1": "not valid JSON",
    "NaN": "NaN is not finite",
    "-Infinity": "-Infinity is not finite",
    "1e309": "1e309 is out of range",
    "1e-400": "1e-400 is out of range",
    "9223372036854775808": "9223372036854775808 does not fit in 64 bits",
    "-9223372036854775809": "-9223372036854775809 does not fit in 64 bits",
    "1" * 100000: "1{24} does not fit in 64 bits",
    '{"a":1,"b":2,"a":1}': "the key 'a' twice",
    '{"b":1,"a":2,"a":3}': "the key 'a' twice",
    '{"a":[{"b":1,"\\u0062":2}]}': "the key 'b' twice",
    '"\\ud800"': "lone surrogate",
    '["\\udc00\\ud800"]': "lone surrogate",
    '{"\\udfff":1}': "lone surrogate",
    "[" * (NEST + 1) + "]" * (NEST + 1): "nested more than 100 deep",
    '{"a":' * (NEST + 1) + "0" + "}" * (NEST + 1): "nested more than 100 deep",
    "[" * 100000: "not valid JSON",
}
ACCEPTED = {
    " \t\r\n[ ] ": [],
    "-0": 0,
    "-9223372036854775808": -(2**63),
    "9223372036854775807": 2**63 - 1,
    "5e-324": 5e-324,
    "1.7976931348623157e308": 1.7976931348623157e308,
    "-0.0e-999": -0.0,
    '"\\u0000\\ud83d\\ude00\\/"': "\0\U0001f600/",
    '{"":{"":null}}': {"": {"": None}},
    "[" * NEST + "]" * NEST: json.loads("[" * NEST + "]" * NEST),
    '{"a":' * NEST + "0" + "}" * NEST: json.loads('{"a":' * NEST + "0" + "}" * NEST),
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda t: ascii(t[:24]))
def test_texts_outside_the_subset(text: str) -> None:
    with pytest.raises(EngineFileError, match=REFUSED[text]):
        strict_json.loads(text.encode())


@pytest.mark.parametrize("text", ACCEPTED, ids=lambda t: ascii(t[:24]))
def test_texts_inside_the_subset(text: str) -> None:
    assert strict_json.loads(text.encode()) == ACCEPTED[text]


@pytest.mark.parametrize(
    "data",
    [b'"\xff"', b'"\xc0\x80"', b'"\xe0\x80\x80"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xe2\x82"', b'"\x80"'],
)
def test_bytes_that_are_not_utf8(data: bytes) -> None:
    with pytest.raises(EngineFileError, match="can't decode byte"):
        strict_json.loads(data)
    assert not accepted_by_cpp(data)


@pytest.mark.parametrize("text", [*REFUSED, *ACCEPTED], ids=lambda t: ascii(t[:24]))
def test_cpp_takes_the_same_texts(text: str) -> None:
    assert accepted_by_cpp(text.encode()) == (text in ACCEPTED)


def accepted_by_cpp(data: bytes) -> bool:
    """Whether the C++ parser takes a text. None of them is a Plan, so all raise; the message tells where."""
    native = pytest.importorskip("inception_fast._native")
    with pytest.raises(EngineFileError) as caught:
        native.parse_plan(data)
    return not str(caught.value).startswith("not valid JSON")
