"""Every pass, and the pipeline as a whole, on graphs that nobody would write."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from inception_fast.activation import Activation
from inception_fast.graph import ir
from inception_fast.graph.interpreter import interpret
from inception_fast.graph.passes import (
    commute_avgpool,
    eliminate_concat,
    fold_batchnorm,
    fold_input_affine,
    fuse_activation,
    fuse_residual,
    merge_siblings,
    optimize_graph,
    pair_factorized,
)
from inception_fast.graph.rewrite import rebuild
from tests.graph.build import Build
from tests.graph.check import assert_concats_in_place, assert_same_values, check_pass, kinds, random_input

PASSES: tuple[Callable[[ir.Graph], ir.Graph], ...] = (
    fold_batchnorm.fold_batchnorm,
    fuse_activation.fuse_activation,
    fuse_residual.fuse_residual,
    fold_input_affine.fold_input_affine,
    commute_avgpool.commute_avgpool,
    merge_siblings.merge_siblings,
    lambda graph: merge_siblings.merge_siblings(graph, taps=True),
    eliminate_concat.eliminate_concat,
    pair_factorized.pair_factorized,
)
KERNELS = ((1, 1), (1, 1), (1, 1), (3, 3), (1, 3), (3, 1), (1, 5))
EXAMPLES = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@dataclass(frozen=True)
class Options:
    merge_siblings: bool
    merge_taps: bool
    pair: bool
    fuse_functions: bool = True


def random_graph(random: Random) -> ir.Graph:
    """Up to 16 ops on a 4 x 5 x 6 image, most of them reading what was made last."""
    b = Build(4, 5, 6, seed=random.randrange(2**31))
    values = ["x"]

    def pick() -> str:
        return random.choice(values[-3:] if random.random() < 0.7 else values)

    def conv(x: str) -> str:
        channels = random.choice((2, 4, (1, 3)))
        padding = (0, 0, 0, 0) if random.random() < 0.2 else None
        kernel = random.choice(KERNELS)
        if padding and any(k > s for k, s in zip(kernel, b.graph(x).shapes[x][1:], strict=True)):
            padding = None
        return b.conv(x, channels, kernel, bias=random.random() < 0.5, relu=random.random() < 0.3, padding=padding)

    def alike(x: str, axis: slice) -> list[str]:
        shapes = b.graph(x).shapes
        return [v for v in values if shapes[v][axis] == shapes[x][axis]]

    def cut(x: str) -> str:
        channels = b.channels(x)
        start = random.randrange(channels)
        return b.slice(x, start, random.randint(1, channels - start))

    def product(x: str) -> str:
        return b.conv(x, random.choice((1, 2)), bias=random.random() < 0.5, relu=random.random() < 0.5)

    def factorized(x: str) -> str:
        kernels = random.sample(((1, 3), (5, 1), (3, 1), (1, 2)), random.choice((2, 2, 3, 4)))
        for kernel in kernels:
            x = b.conv(x, 2, kernel, relu=random.random() < 0.5, padding=(kernel[0] - 1, 0, 0, kernel[1] - 1))
        return x

    def function(x: str) -> str:
        if random.random() < 0.3:
            return b.node(ir.Activate(Activation("prelu", slope=b.param(b.channels(x)))), x)
        return b.node(ir.Activate(random.choice((Activation("silu"), Activation("clamp", -0.5, 2.0)))), x)

    def depthwise(x: str) -> str:
        channels = b.channels(x)
        bias = b.param(channels) if random.random() < 0.5 else None
        weight = b.param(channels, 1, 3, 1)
        return b.node(ir.DepthwiseConv2d(weight, bias, (1, 1), (1, 0, 1, 0), (1, 1), random.random() < 0.3), x)

    def grouped(x: str) -> str:
        parts = [b.conv(b.slice(x, i, 1), 2, bias=True) for i in range(min(b.channels(x), 2))]
        return random.choice((b.batchnorm, b.relu, b.affine, function))(b.concat(*parts))

    makers: list[Callable[[str], str]] = [
        *(conv,) * 4,
        b.batchnorm,
        b.affine,
        *(b.relu,) * 2,
        *(lambda x: b.add(x, random.choice(alike(x, slice(None))), relu=random.random() < 0.3),) * 2,
        *(lambda x: b.concat(x, *random.sample(peers := alike(x, slice(1, None)), min(2, len(peers)))),) * 2,
        lambda x: b.avgpool(x, include_pad=random.random() < 0.5),
        lambda x: product(b.avgpool(x, include_pad=random.random() < 0.5)),
        lambda x: b.concat(product(x), product(x), product(b.avgpool(x))),
        lambda x: b.concat(b.conv(x, 2, (1, 3)), b.conv(x, 1, (3, 1), relu=True)),
        factorized,
        *(function,) * 2,
        depthwise,
        lambda x: random.choice((b.batchnorm, b.affine, b.relu, function))(depthwise(x)),
        grouped,
        lambda x: b.node(ir.Gate(), x, random.choice(alike(x, slice(None)))),
        b.maxpool,
        cut,
    ]
    for _ in range(random.randint(4, 16)):
        values.append(random.choice(makers)(pick()))
    graph = b.graph(values[-1], *random.sample(values, random.randint(0, 2)))
    return rebuild(graph, graph.nodes)


def is_alive(graph: ir.Graph) -> bool:
    """True where no ReLU has put out a whole value."""
    return all(v.count_nonzero() for v in interpret(graph, random_input(graph), values=list(graph.by_name)))


@EXAMPLES
@given(st.randoms(use_true_random=False))
def test_each_pass(random: Random) -> None:
    graph = random_graph(random)
    assume(is_alive(graph))
    for run in random.sample(PASSES, len(PASSES)):
        graph = check_pass(run, graph)


@EXAMPLES
@given(st.randoms(use_true_random=False), st.builds(Options, st.booleans(), st.booleans(), st.booleans()))
def test_pipeline(random: Random, options: Options) -> None:
    before = random_graph(random)
    assume(is_alive(before))
    after, reports = optimize_graph(before, options)
    assert_same_values(before, after)
    assert_concats_in_place(after)
    assert kinds(after)["BatchNorm"] == 0
    assert all(a.after == b.before for a, b in pairwise(reports))
    assert reports[-1].after.multiply_adds <= reports[0].before.multiply_adds or options.merge_taps
