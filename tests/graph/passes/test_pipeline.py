from itertools import pairwise

from inception_fast.backends.base import Lowering
from inception_fast.graph.passes import optimize_graph
from tests.graph.build import Build
from tests.graph.check import assert_same_values, kinds


def test_readers_that_lead_nowhere_do_not_stand_in_the_way() -> None:
    b = Build(4, 7, 5)
    c = b.conv("x", 4)
    b.maxpool(c)
    before = b.graph(b.relu(b.batchnorm(c)))
    after, _ = optimize_graph(before, Lowering())
    assert_same_values(before, after)
    assert kinds(after) == {"Input": 1, "Conv2d": 1}


def test_order_and_reports() -> None:
    b = Build(4, 7, 5)
    y = b.concat(b.relu(b.batchnorm(b.conv("x", 3))), b.conv(b.avgpool("x"), 2))
    _, reports = optimize_graph(b.graph(y), Lowering())
    assert [r.name for r in reports] == [
        "fold_batchnorm",
        "fold_channel_order",
        "read_bytes",
        "fuse_activation",
        "fuse_residual",
        "fold_input_affine",
        "commute_avgpool",
        "merge_siblings",
        "eliminate_concat",
        "pair_factorized",
    ]
    assert all(earlier.after == later.before for earlier, later in pairwise(reports))
    assert [r.after.convolutions for r in reports] == [2, 2, 2, 2, 2, 2, 2, 1, 1, 1]


def test_taps_are_merged_where_a_backend_wants_it() -> None:
    b = Build(4, 7, 5)
    before = b.graph(b.concat(b.conv("x", 3, (1, 3)), b.conv("x", 2, (3, 1))))
    for wanted, convolutions in ((False, 2), (True, 1)):
        after, _ = optimize_graph(before, Lowering(merge_taps=wanted))
        assert_same_values(before, after)
        assert kinds(after)["Conv2d"] == convolutions
