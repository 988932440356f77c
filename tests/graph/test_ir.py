"""A Graph as people read it, and what it says of itself."""

from __future__ import annotations

from inception_fast.activation import Activation
from inception_fast.graph import ir
from tests.graph.build import Build


def test_text() -> None:
    """A line for each value, of an op only what is not as usual, and last what is returned."""
    b = Build(4, 7, 5)
    y = b.maxpool("x", name="y")
    s = b.add(y, y, relu=True, name="s")
    graph = b.graph(b.node(ir.Affine("scale", "shift", activation=Activation("tanh")), s, name="z"), y)
    assert str(graph).splitlines() == [
        "%x = Input() {shape=(4, 7, 5)} : 4x7x5",
        "%y = MaxPool(%x) {kernel=(3, 3), stride=(1, 1), padding=(1, 1)} : 4x7x5",
        "%s = Add(%y, %y) {relu=True} : 4x7x5",
        f"%z = Affine(%s) {{scale=scale, shift=shift, activation={Activation('tanh')}}} : 4x7x5",
        "return %z, %y",
    ]


def test_readers_and_privacy() -> None:
    b = Build(4, 7, 5)
    once, twice, seen = b.relu("x", name="once"), b.relu("x", name="twice"), b.relu("x", name="seen")
    b.add(twice, twice, name="sum")
    b.add(once, seen, name="other")
    graph = b.graph("sum", "other", seen)
    assert [n.name for n in graph.consumers["twice"]] == ["sum", "sum"]
    assert [name for name in graph.by_name if graph.is_private(name)] == ["once"]
