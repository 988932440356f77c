"""A pass that leaves something says so by the module's path, or by the value's name where there is no module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from inception_fast.graph import ir
from inception_fast.graph.passes import (
    commute_avgpool,
    fold_batchnorm,
    fold_input_affine,
    fuse_activation,
    fuse_residual,
    merge_siblings,
    pair_factorized,
)
from tests.graph.build import Build


def pool_of_two(b: Build) -> str:
    p = b.avgpool("x", name="pool")
    return b.add(b.conv(p, 4, name="plain"), b.conv(p, 4, (3, 3), name="reader"))


def pool_of_segments(b: Build) -> str:
    return b.conv(b.avgpool("x", name="pool"), (2, 2), name="reader")


def batchnorm(b: Build) -> str:
    return b.batchnorm(b.maxpool("x"), name="left")


def padded(b: Build) -> str:
    return b.conv(b.affine("x", name="left"), 4, (3, 3), name="reader")


def pooled(b: Build) -> str:
    a = b.affine("x", name="left")
    return b.add(b.conv(a, 6), b.maxpool(a, name="reader"))


def residual(b: Build) -> str:
    a = b.affine("x", name="left")
    return b.conv(b.maxpool("x"), 6, residual=a, name="reader")


def overflowing(b: Build) -> str:
    a = b.affine("x", name="left")
    b.params[b.nodes[-1].op.scale].fill_(1e6)
    return b.conv(a, 6, name="reader")


def relu(b: Build) -> str:
    return b.relu(b.maxpool("x"), name="left")


def add(b: Build) -> str:
    return b.add(b.maxpool("x"), "x", name="left")


def strided(b: Build) -> str:
    return b.concat(b.conv("x", 4, stride=(2, 2), name="left"), b.conv("x", 4, (1, 1), stride=(2, 2), name="other"))


def crossed(b: Build) -> str:
    first = b.conv("x", 4, (1, 3), stride=(1, 2))
    return b.conv(first, 4, (3, 1), name="left")


CASES = [
    (pool_of_two, commute_avgpool.why_not, ("pool", "reader")),
    (pool_of_segments, commute_avgpool.why_not, ("pool", "reader")),
    (batchnorm, fold_batchnorm.why_not, ("left",)),
    (padded, fold_input_affine.why_not, ("left", "reader")),
    (pooled, fold_input_affine.why_not, ("left", "reader")),
    (residual, fold_input_affine.why_not, ("left", "reader")),
    (overflowing, fold_input_affine.why_not, ("left", "reader")),
    (relu, fuse_activation.why_not, ("left",)),
    (add, fuse_residual.why_not, ("left",)),
    (strided, merge_siblings.why_not, ("left",)),
    (crossed, pair_factorized.why_not, ("left",)),
]


@pytest.mark.parametrize(("build", "why_not", "named"), CASES, ids=[build.__name__ for build, _, _ in CASES])
def test_names(
    build: Callable[[Build], str], why_not: Callable[[ir.Graph], tuple[str, ...]], named: tuple[str, ...]
) -> None:
    b = Build(6, 9, 7)
    graph = b.graph(build(b))
    note = why_not(graph)[0]
    assert note.startswith(f"net.{named[0]}: ") and all(f"net.{name}" in note for name in named)
    bare = replace(graph, nodes=tuple(replace(node, origin="") for node in graph.nodes))
    assert why_not(bare)[0] == note.replace("net.", "")
