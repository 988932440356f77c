from inception_fast.graph import ir
from inception_fast.graph.passes.eliminate_concat import eliminate_concat, why_not
from tests.graph.build import Build
from tests.graph.check import assert_concats_in_place, check_pass, kinds


def eliminate(graph: ir.Graph) -> ir.Graph:
    """The pass, with the postcondition that lowering relies on."""
    after = check_pass(eliminate_concat, graph)
    assert_concats_in_place(after)
    assert len(why_not(after)) == kinds(after)["Copy"]
    return after


def test_branches_write_in_place() -> None:
    b = Build(4, 7, 5)
    y = b.concat(b.conv("x", 3), b.maxpool("x"), b.avgpool("x"), b.affine("x"), b.relu(b.maxpool("x")))
    after = eliminate(b.graph(y))
    assert kinds(after) == kinds(b.graph(y))
    assert [n.op.in_place for n in after.of_kind(ir.Concat)] == [True]


def test_nested_concats_become_one() -> None:
    b = Build(4, 7, 5)
    inner = b.concat(b.conv("x", 1), b.concat(b.conv("x", 2), b.conv("x", 3)))
    y = b.concat(b.conv("x", 4), inner, b.conv("x", 5), name="y")
    after = eliminate(b.graph(y))
    (concat,) = after.of_kind(ir.Concat)
    assert [after.shapes[i][0] for i in concat.inputs] == [4, 1, 2, 3, 5]


def test_nested_concat_with_other_readers_is_copied() -> None:
    b = Build(4, 7, 5)
    inner = b.concat(b.conv("x", 1), b.conv("x", 2))
    y = b.concat(inner, b.conv(inner, 3))
    after = eliminate(b.graph(y))
    assert kinds(after)["Concat"] == 2 and kinds(after)["Copy"] == 1


def test_concat_of_one_tensor_disappears() -> None:
    b = Build(4, 7, 5)
    y = b.concat(b.concat(b.conv("x", 3, name="c")), name="y")
    after = eliminate(b.graph(y, b.maxpool(y)))
    assert kinds(after) == {"Input": 1, "Conv2d": 1, "MaxPool": 1}
    assert after.outputs[0] == "c"


def test_value_in_two_concats_is_copied_into_the_second() -> None:
    b = Build(4, 7, 5)
    c = b.conv("x", 3, name="c")
    first = b.concat(c, b.maxpool("x"), name="first")
    after = eliminate(b.graph(b.concat(b.conv(first, 2), c, name="second")))
    assert "c" in after.by_name["first"].inputs and "c" not in after.by_name["second"].inputs
    assert "in a concat already" in why_not(after)[0]


def test_value_twice_in_one_concat_is_copied_once() -> None:
    b = Build(4, 7, 5)
    c = b.conv("x", 3, name="c")
    (concat,) = eliminate(b.graph(b.concat(c, c))).of_kind(ir.Concat)
    assert concat.inputs[0] == "c" and concat.inputs[1] != "c"


def test_input_is_copied() -> None:
    b = Build(4, 7, 5)
    after = eliminate(b.graph(b.concat("x", b.conv("x", 3), "x")))
    assert kinds(after)["Copy"] == 2
    assert all("caller" in reason for reason in why_not(after))


def test_flattened_values_are_copied_and_linear_ones_are_not() -> None:
    b = Build(4, 7, 5)
    f = b.flat("x")
    assert kinds(eliminate(b.graph(b.concat(f, b.linear(f, 3)))))["Copy"] == 1


def test_outputs_stay_in_place() -> None:
    b = Build(4, 7, 5)
    c = b.conv("x", 3)
    y = b.concat(c, b.maxpool("x"))
    assert kinds(eliminate(b.graph(y, c, b.conv(y, 2))))["Copy"] == 0


def test_segments_go_to_their_own_places() -> None:
    b = Build(4, 7, 5)
    c = b.conv("x", (2, 3, 1))
    s0, s1, s2 = b.slice(c, 0, 2), b.slice(c, 2, 3), b.slice(c, 5, 1)
    y = b.concat(b.conv(s1, 3), s0, b.maxpool(s2), s2)
    after = eliminate(b.graph(y))
    assert kinds(after)["Copy"] == 0


def test_other_slices_are_copied() -> None:
    b = Build(4, 7, 5)
    whole, halves = b.conv("x", (2, 3)), b.conv("x", (2, 3))
    cases = [
        (b.slice("x", 1, 2),),
        (b.slice(b.maxpool("x"), 0, 1),),
        (b.slice(b.concat(b.conv("x", 2), b.conv("x", 3)), 2, 3),),
        (b.slice(b.conv("x", (2, 3)), 1, 2),),  # across segments
        (b.slice(halves, 0, 3), b.slice(halves, 3, 2)),  # as many as segments
        (b.slice(whole, 0, 2), b.slice(whole, 2, 3), b.slice(whole, 1, 3)),  # segments, and read otherwise besides
    ]
    for values in cases:
        after = eliminate(b.graph(b.concat(*values, b.maxpool("x"))))
        assert kinds(after)["Copy"] == len(values)


def test_segments_of_an_output_are_copied() -> None:
    b = Build(4, 7, 5)
    c = b.conv("x", (2, 3))
    y = b.concat(b.slice(c, 0, 2), b.slice(c, 2, 3))
    assert kinds(eliminate(b.graph(y, c)))["Copy"] == 2


def test_segment_sliced_twice_is_copied() -> None:
    b = Build(4, 7, 5)
    c = b.conv("x", (2, 3))
    y = b.concat(b.slice(c, 0, 2), b.slice(c, 0, 2), b.slice(c, 2, 3))
    assert kinds(eliminate(b.graph(y)))["Copy"] == 3
