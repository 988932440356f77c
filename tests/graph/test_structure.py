"""Output structures: the user's own containers at run time, plain JSON in a file."""

from __future__ import annotations

import ast
import json
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.fx.immutable_collections import immutable_dict, immutable_list

from inception_fast.errors import EngineFileError, InputError, InputTypeError
from inception_fast.graph.capture import capture
from inception_fast.graph.structure import TENSOR, OutputStructure
from tests.graph.capturing import Model, example

T = TENSOR


class Logits(NamedTuple):
    logits: Any
    aux: Any = None


SAMPLES: list[Any] = [
    T,
    (T,),
    (T, T),
    [T, None, 3, 2.5, True, "name"],
    {"a": T, "b": [T, (T,)]},
    {3: T, 1: T},
    OrderedDict(z=T, a=T),
    Logits(T),
    [Logits(T, {"deep": (T,)}), ()],
    {"top": torch.return_types.topk((T, T))},
]


def numbered(structure: OutputStructure) -> list[str]:
    return [f"tensor {i}" for i in range(structure.tensors)]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: type(s).__name__)
def test_json_round_trip(sample: Any) -> None:
    structure = OutputStructure(sample)
    loaded = OutputStructure.from_json(json.loads(json.dumps(structure.to_json())))
    assert loaded.tensors == structure.tensors
    before, after = structure.unflatten(numbered(structure)), loaded.unflatten(numbered(structure))
    assert before == after
    assert repr(before) == repr(after), "types or the order of keys differ"
    assert loaded.to_json() == structure.to_json()


def test_unflatten_fills_in_order() -> None:
    structure = OutputStructure({"a": [T, None], "b": Logits(T, (T, "x"))})
    result = structure.unflatten([1, 2, 3])
    assert result == {"a": [1, None], "b": Logits(2, (3, "x"))}
    assert type(result["b"]) is Logits
    result["a"].clear()
    assert structure.unflatten([1, 2, 3])["a"] == [1, None]


def test_unflatten_wants_every_tensor() -> None:
    with pytest.raises(InputError) as caught:
        OutputStructure((T, T)).unflatten([1])
    assert str(caught.value) == "tensors: got 1 tensors, expected 2, as many as the model returns"


def test_a_named_tuple_from_a_file_has_its_name_and_fields() -> None:
    loaded = OutputStructure.from_json(OutputStructure(Logits(T, T)).to_json()).unflatten([1, 2])
    assert type(loaded) is not Logits
    assert (type(loaded).__name__, loaded._fields, loaded.logits, loaded.aux) == ("Logits", ("logits", "aux"), 1, 2)


def test_names_are_read_as_python_reads_them() -> None:
    description = items(LEAF, kind="namedtuple", name="Größe", fields=["\ufb01rst"])
    assert OutputStructure.from_json(description).unflatten([1]).first == 1


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (object(), "an output of object"),
        (ast.Name("x"), "an output of Name"),
        ([{1, 2}], "an output of set"),
        (float("nan"), "an output of float"),
        ({(1, 2): T}, "an output dict with the key (1, 2)"),
    ],
)
def test_samples_that_no_file_could_hold(sample: Any, message: str) -> None:
    with pytest.raises(InputTypeError) as caught:
        OutputStructure(sample)
    assert str(caught.value).startswith(f"model: got {message}, expected ")


def nested(depth: int, wrap: Callable[[Any], Any], innermost: Any = T) -> Any:
    for _ in range(depth):
        innermost = wrap(innermost)
    return innermost


WRAPS: dict[str, Callable[[Any], Any]] = {
    "list": lambda inner: [inner],
    "dict": lambda inner: {"a": inner},
    "named tuple": lambda inner: Logits(inner),
    "of PyTorch": lambda inner: torch.return_types.topk((inner, None)),
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_nesting_is_bounded(wrap: Callable[[Any], Any]) -> None:
    deepest = OutputStructure(nested(32, wrap))
    assert OutputStructure.from_json(deepest.to_json()).to_json() == deepest.to_json()
    assert deepest.unflatten([1]) == nested(32, wrap, 1)
    assert OutputStructure(nested(32, wrap, immutable_list())) == OutputStructure(nested(32, wrap, []))
    for depth in (33, 5000):
        with pytest.raises(InputError, match="nested more than 32 deep"):
            OutputStructure(nested(depth, wrap))
    with pytest.raises(EngineFileError, match="nested more than 32 deep"):
        OutputStructure.from_json({"kind": "list", "items": [deepest.to_json()]})


def items(*nodes: Any, kind: str = "list", **others: Any) -> dict[str, Any]:
    return {"kind": kind, "items": list(nodes), **others}


LEAF = {"kind": "tensor"}

BOLD_DEF, WIDE_IF = "\U0001d41d\U0001d41e\U0001d41f", "\uff49\uff46"
"""Python reads them as keywords."""

HOSTILE: list[tuple[Any, str]] = [
    (None, "None in place of an object"),
    ([], "[] in place of an object"),
    ({}, "unknown kind None"),
    ({"kind": "set", "items": []}, "unknown kind 'set'"),
    ({"kind": ["list"]}, "unknown kind ['list']"),
    ({"kind": "tensor", "more": 1}, "a tensor with the members ['kind', 'more']"),
    ({"kind": "list"}, "a list with the members ['kind']"),
    ({"kind": "tuple", "items": {"0": LEAF}}, "a tuple whose items are not a list"),
    (items(3), "3 in place of an object"),
    ({"kind": "constant", "value": [1]}, "the constant [1]"),
    ({"kind": "constant", "value": float("inf")}, "the constant inf"),
    (items(LEAF, kind="dict", keys=[]), "a dict with 1 items and the keys []"),
    (items(LEAF, kind="dict", keys="a"), "a dict with keys 'a'"),
    (items(LEAF, kind="dict", keys=[None]), "a dict with keys [None]"),
    (items(LEAF, LEAF, kind="dict", keys=["a", "a"]), "a dict with 2 items and the keys ['a', 'a']"),
    (items(LEAF, kind="namedtuple", name=1, fields=["a"]), "a named tuple called 1"),
    (items(LEAF, kind="namedtuple", name="N", fields="a"), "a named tuple of 1 items with the fields 'a'"),
    (items(LEAF, kind="namedtuple", name="N", fields=[]), "a named tuple of 1 items with the fields []"),
    (items(LEAF, kind="namedtuple", name="N", fields=[1]), "a named tuple of 1 items with the fields [1]"),
    (items(LEAF, kind="namedtuple", name="N", fields=["_a"]), "Field names cannot start with an underscore: '_a'"),
    (items(LEAF, kind="namedtuple", name="N", fields=["a b"]), "Type names and field names must be valid identifiers"),
    (items(LEAF, kind="namedtuple", name="N()", fields=["a"]), "Type names and field names must be valid identifiers"),
    (items(LEAF, kind="namedtuple", name="class", fields=["a"]), "Type names and field names cannot be a keyword"),
    (items(LEAF, kind="namedtuple", name="N", fields=[BOLD_DEF]), "Type names and field names cannot be a keyword"),
    (items(LEAF, kind="namedtuple", name=WIDE_IF, fields=["a"]), "Type names and field names cannot be a keyword"),
    (items(LEAF, kind="namedtuple", name="N", fields=["\ufe33a"]), "Field names cannot start with an underscore: '_a'"),
    (items(LEAF, LEAF, kind="namedtuple", name="N", fields=["\ufb01", "fi"]), "Encountered duplicate field name: 'fi'"),
    (items(LEAF, kind="return_type", name="topk"), "1 items of 'topk'"),
    (items(LEAF, LEAF, kind="return_type", name="eval"), "2 items of 'eval'"),
    (items(LEAF, LEAF, kind="return_type", name=1), "2 items of 1"),
    (items(LEAF, LEAF, kind="namedtuple", name="N", fields=["a", "a"]), "Encountered duplicate field name: 'a'"),
]


@pytest.mark.parametrize(("description", "message"), HOSTILE, ids=[m for _, m in HOSTILE])
def test_hostile_descriptions(description: Any, message: str) -> None:
    with pytest.raises(EngineFileError) as caught:
        OutputStructure.from_json(description)
    assert str(caught.value).startswith(f"output structure: {message}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just({"kind": "tensor"}),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.fixed_dictionaries(
            {
                "kind": st.sampled_from(
                    ["tensor", "list", "tuple", "dict", "ordered_dict", "namedtuple", "return_type", "constant"]
                )
            },
            optional=dict.fromkeys(("items", "keys", "fields", "name", "value"), inner),
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_description_loads_or_is_refused(description: Any) -> None:
    try:
        structure = OutputStructure.from_json(description)
    except EngineFileError:
        return
    assert OutputStructure.from_json(structure.to_json()).to_json() == structure.to_json()


Pair = namedtuple("Pair", ["first", "second"])

CAPTURED: dict[str, Any] = {
    "tensor": lambda y, z: y,
    "tuple": lambda y, z: (y, z),
    "tuple of one": lambda y, z: (y,),
    "list": lambda y, z: [z, y],
    "dict": lambda y, z: {"z": z, "a": y, 7: y},
    "OrderedDict": lambda y, z: OrderedDict(z=z, a=y),
    "namedtuple": lambda y, z: Pair(y, z),
    "NamedTuple": lambda y, z: Logits(y),
    "the same tensor twice": lambda y, z: (y, y),
    "nested with constants": lambda y, z: {"a": [y, None, (Pair(z, 3),)], "b": "text", "c": (), "d": y.shape[1]},
}


@pytest.mark.parametrize("returned", CAPTURED.values(), ids=list(CAPTURED))
def test_a_model_s_own_structure(returned: Any) -> None:
    def forward(m: Any, x: Tensor) -> Any:
        return returned(F.relu(x), F.max_pool2d(x, 2))

    captured = capture(Model(forward), example())
    names = {"relu": 1, "maxpool": 2}
    expected = returned(Marked(1), Marked(2))
    rebuilt = captured.structure.unflatten([Marked(names[name]) for name in captured.graph.outputs])
    assert repr(rebuilt) == repr(expected)
    assert type(rebuilt) is type(expected)


def test_containers_of_traced_graphs_are_plain_ones() -> None:
    """``torch.fx`` writes its own in the place of the user's."""
    traced = immutable_dict(a=immutable_list([T, (immutable_dict(b=T),)]))
    structure = OutputStructure(traced)
    assert structure == OutputStructure({"a": [T, ({"b": T},)]})
    rebuilt = structure.unflatten([1, 2])
    assert rebuilt == {"a": [1, ({"b": 2},)]}
    assert (type(rebuilt), type(rebuilt["a"]), type(rebuilt["a"][1][0])) == (dict, list, dict)
    assert OutputStructure.from_json(structure.to_json()) == structure


class Marked:
    """Stands for a tensor of four channels."""

    shape = torch.Size((1, 4, 7, 9))

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"tensor {self.number}"


@pytest.mark.parametrize("sample", SAMPLES)
def test_flatten_is_the_inverse_of_unflatten(sample: Any) -> None:
    structure = OutputStructure(sample)
    tensors = [torch.tensor(float(i)) for i in range(structure.tensors)]
    named = structure.flatten(structure.unflatten(tensors), "out")
    assert [tensor for _, tensor in named] == tensors
    assert len({name for name, _ in named}) == len(tensors) and all(name.startswith("out") for name, _ in named)


@pytest.mark.parametrize(
    ("sample", "value", "message"),
    [
        ((T, T), (1,), r"out: got 1 items, expected a tuple of 2"),
        ([T, T], 3, r"out: got int, expected a list of 2"),
        ({"a": T}, {"b": 1}, r"out: got the keys 'b', expected a dict with the keys 'a'"),
        ({"a": T}, [1], r"out: got list, expected a dict with the keys 'a'"),
        ((T, 3), (1, torch.tensor(3)), r"out\[1\]: got Tensor, expected 3, as the model returns"),
        (Logits(T), (1, None), r"out: got tuple, expected a named tuple of logits, aux"),
        (Logits(T), Logits(1, 2), r"out.aux: got int, expected None, as the model returns"),
        ([T, {"a": (T,)}], [1, {"a": []}], r"out\[1\]\['a'\]: got 0 items, expected a tuple of 1"),
    ],
)
def test_flatten_refuses_other_structures(sample: Any, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        OutputStructure(sample).flatten(value, "out")
