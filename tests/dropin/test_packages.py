"""The packages' own networks, captured and optimized, against themselves in float64."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

import inception_fast as ifast
from inception_fast.compilation import build as build_fast
from inception_fast.graph.capture import Captured, capture
from tests.graph.capturing import check_captured
from tests.graph.check import relative_error
from tests.packages import VARIANTS, build, images

Size = tuple[int, int]

SMALL = ((139, 107), (101, 128), (107, 139))
OTHER_SIZE = {name: SMALL[index % len(SMALL)] for index, name in enumerate(VARIANTS)}
"""The size at which every variant is tested. What a variant adds to its network's plain form knows no size."""
OWN_SIZE = (
    "torchvision-inception_v3",
    "torchvision-googlenet",
    "timm-inception_v3",
    "timm-inception_v4",
    "timm-inception_resnet_v2",
    "facenet-embedding",
)
"""Variants tested at the package's own size besides: the plain forms."""
BATCHES = ([2], [0, 1, 2], [2, 0, 1, 1, 0, 2, 0, 1])
"""The photographs in each. Three of them are enough to tell every place in a batch from its neighbours."""


@dataclass(frozen=True)
class Net:
    """A package's network, in float32, and what it was captured as for photographs of its OTHER_SIZE.

    Attributes:
        truth: its output in float64 for them.
    """

    name: str
    model: nn.Module
    photos: torch.Tensor
    captured: Captured
    truth: Any


@pytest.fixture(scope="module", params=VARIANTS)
def net(request: pytest.FixtureRequest) -> Iterator[Net]:
    name, model = request.param, build(request.param)
    photos = images(name, 3, OTHER_SIZE[name])
    yield Net(name, model, photos, capture(model, photos), in_float64(model, photos))


@torch.no_grad()
def in_float64(model: nn.Module, photos: torch.Tensor) -> Any:
    return copy.deepcopy(model).double()(photos.double())


@torch.no_grad()
def check(fast: ifast.FastModel, model: nn.Module, truth: Any, x: torch.Tensor, batch: list[int]) -> None:
    """At most twice the error of PyTorch eager, or 1e-5; outputs nested as the package nests them."""
    got, structure = pytree.tree_flatten(fast(x[batch]))
    wanted, expected_structure = pytree.tree_flatten(truth)
    assert structure == expected_structure
    assert [t.dtype for t in got] == [torch.float32] * len(wanted)
    wanted = [t[batch] for t in wanted]
    errors = [relative_error(a.double(), b) for a, b in zip(got, wanted, strict=True)]
    if max(errors) > 1e-5:
        eager = pytree.tree_leaves(model(x[batch]))
        bounds = [max(1e-5, 2 * relative_error(a.double(), b)) for a, b in zip(eager, wanted, strict=True)]
        assert all(e <= b for e, b in zip(errors, bounds, strict=True)), (batch, errors, bounds)


def test_same_outputs(net: Net) -> None:
    fast = build_fast(net.captured, net.photos, "fp32", "auto")
    for batch in BATCHES:
        check(fast, net.model, net.truth, net.photos, batch)


@pytest.mark.parametrize("name", OWN_SIZE)
def test_same_outputs_at_the_packages_own_size(name: str) -> None:
    model, photos = build(name), images(name, 3)
    fast, truth = ifast.optimize(model, photos, strict=True), in_float64(model, photos)
    for batch in BATCHES[:2]:
        check(fast, model, truth, photos, batch)


def test_graph(net: Net) -> None:
    """The Graph computes what the network computes, to float64's rounding, and is made of what it should be made of."""
    check_captured(net.captured, net.model, net.photos, net.truth)
    name, kinds = net.name, Counter(node.op.kind for node in net.captured.graph.nodes)
    assert kinds["Conv2d"] == CONVOLUTIONS[name.removesuffix("-transform").removesuffix("-aux")]
    assert kinds["Affine"] == (1 if "transform" in name or "fid" in name else RESIDUALS.get(name.split("-")[1], 0))
    assert kinds["Resize"] == (name == "pytorch-fid")
    assert kinds["Normalize"] == (name == "facenet-embedding")


CONVOLUTIONS = {
    "torchvision-inception_v3": 94,
    "torchvision-googlenet": 57,
    **{f"timm-inception_v3{suffix}": 94 for suffix in ("", "-headless", "-features")},
    **{f"timm-inception_v4{suffix}": 149 for suffix in ("", "-headless", "-features")},
    **{f"timm-inception_resnet_v2{suffix}": 244 for suffix in ("", "-headless", "-features")},
    "facenet-embedding": 132,
    "facenet-classify": 132,
    "pytorch-fid": 94,
    "pytorch-fid-unresized": 94,
}

RESIDUALS = {"inception_resnet_v2": 39, "embedding": 20, "classify": 20}
"""Blocks with a scale other than one."""


def test_pytorch_fid_without_normalisation() -> None:
    """The flag that VARIANTS leaves as it is; images come in [-1, 1] then."""
    model = build("pytorch-fid")
    model.normalize_input = False
    x = 2 * images("pytorch-fid", 2, SMALL[0]) - 1
    got = ifast.optimize(model, x, strict=True)(x)
    assert isinstance(got, list) and len(got) == 4
    for a, b in zip(got, in_float64(model, x), strict=True):
        assert relative_error(a.double(), b) <= 1e-5
