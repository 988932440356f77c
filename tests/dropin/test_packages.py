"""The packages' own networks, optimized, against themselves in float64."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

import inception_fast as ifast
from tests.graph.check import relative_error
from tests.packages import VARIANTS, build, images

OTHERS = ((139, 107), (101, 128))
"""Sizes for the variants whose plain form is tested at the package's own size."""
OWN_SIZE = {
    "torchvision-inception_v3": (107, 139),
    "torchvision-googlenet": (96, 127),
    "timm-inception_v3": (139, 107),
    "timm-inception_v4": (107, 139),
    "timm-inception_resnet_v2": (139, 107),
    "facenet-embedding": (128, 101),
}
"""Variants tested at the package's own size, and the other size of each."""
BATCHES = {1: [2], 3: [0, 1, 2], 8: [2, 0, 1, 1, 0, 2, 0, 1]}
"""Batch size -> the photographs in it. Three of them are enough to tell every place in a batch from its neighbours."""

CASES = [
    (name, size, batch)
    for name, variant in VARIANTS.items()
    for size in ((variant.sizes[0], OWN_SIZE[name]) if name in OWN_SIZE else OTHERS)
    for batch in BATCHES
]


@dataclass
class Net:
    """A package's network.

    Attributes:
        truth: by image size, its output in float64 for the three photographs.
        fast: by image size, the network optimized.
    """

    model: nn.Module
    truth: dict[tuple[int, int], Any] = field(default_factory=dict)
    fast: dict[tuple[int, int], ifast.FastModel] = field(default_factory=dict)


@pytest.fixture(scope="module")
def net(request: pytest.FixtureRequest) -> Iterator[Net]:
    yield Net(build(request.param))


def ids(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


@pytest.mark.parametrize(("net", "size", "batch"), CASES, ids=ids, indirect=["net"])
@torch.no_grad()
def test_same_outputs(net: Net, size: tuple[int, int], batch: int, request: pytest.FixtureRequest) -> None:
    """At most twice the error of PyTorch eager, or 1e-5; outputs nested as the package nests them."""
    name = request.node.callspec.params["net"]
    photos = images(name, 3, size)
    if size not in net.fast:
        net.truth[size] = copy.deepcopy(net.model).double()(photos.double())
        net.fast[size] = ifast.optimize(net.model, photos)
    x = photos[BATCHES[batch]]

    got, structure = pytree.tree_flatten(net.fast[size](x))

    truth, expected_structure = pytree.tree_flatten(net.truth[size])
    assert structure == expected_structure
    assert [t.dtype for t in got] == [torch.float32] * len(truth)
    truth = [t[BATCHES[batch]] for t in truth]
    errors = [relative_error(a.double(), b) for a, b in zip(got, truth, strict=True)]
    if max(errors) > 1e-5:
        eager = pytree.tree_leaves(net.model(x))
        bounds = [max(1e-5, 2 * relative_error(a.double(), b)) for a, b in zip(eager, truth, strict=True)]
        assert all(e <= b for e, b in zip(errors, bounds, strict=True)), (errors, bounds)


@pytest.mark.parametrize("name", ["pytorch-fid", "pytorch-fid-unresized"])
@torch.no_grad()
def test_pytorch_fid_without_normalisation(name: str) -> None:
    """The flag that VARIANTS leaves as it is; images come in [-1, 1] then."""
    model = build(name)
    model.normalize_input = False
    x = 2 * images(name, 2, OTHERS[0]) - 1
    truth = copy.deepcopy(model).double()(x.double())
    got = ifast.optimize(model, x)(x)
    assert isinstance(got, list) and len(got) == 4
    for a, b in zip(got, truth, strict=True):
        assert relative_error(a.double(), b) <= 1e-5


def test_every_variant_has_two_sizes() -> None:
    assert OWN_SIZE.keys() <= VARIANTS.keys()
    assert {name for name, *_ in CASES} == set(VARIANTS)
    assert len(set(CASES)) == 2 * len(BATCHES) * len(VARIANTS)
