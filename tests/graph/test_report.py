from inception_fast.graph.passes.eliminate_concat import eliminate_concat
from inception_fast.graph.passes.fuse_activation import fuse_activation, why_not
from inception_fast.graph.passes.merge_siblings import merge_siblings
from inception_fast.graph.report import report_pass
from tests.graph.build import Build


def test_counts_what_changed_and_says_what_was_left_alone() -> None:
    b = Build(4, 6, 5)
    before = b.graph(b.concat(b.relu(b.conv("x", 2)), b.relu(b.maxpool("x"), name="left")))
    after = fuse_activation(before)
    report = report_pass("fuse_activation", before, after, why_not(after))
    assert report.notes == ("ReLU: 2 -> 1", "left alone: net.left: follows MaxPool, which has no activation")
    assert (report.name, report.before.nodes, report.after.nodes) == ("fuse_activation", 6, 5)


def test_names_what_was_made_of_several() -> None:
    b = Build(4, 6, 5)
    before = b.graph(b.conv("x", 2, name="a"), b.conv("x", 3, name="b"))
    report = report_pass("merge_siblings", before, merge_siblings(before), ())
    assert report.notes == ("Conv2d: 2 -> 1", "Slice: 0 -> 2", "Conv2d of net.{a, b}")


def test_a_concat_in_place_is_a_kind_of_its_own() -> None:
    b = Build(4, 6, 5)
    before = b.graph(b.concat(b.conv("x", 3), b.maxpool("x")))
    report = report_pass("eliminate_concat", before, eliminate_concat(before), ())
    assert report.notes == ("Concat: 1 -> 0", "Concat in place: 0 -> 1")


def test_nothing_to_say() -> None:
    graph = Build(4, 6, 5).graph()
    assert report_pass("any", graph, graph, ()).notes == ()
