"""Whole networks, the packages' and our own: the Graph computes what the module computes."""

from __future__ import annotations

import copy
from collections import Counter

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from inception_fast.graph.capture import Captured, capture
from inception_fast.graph.interpreter import interpret
from inception_fast.models.calibration import calibrate_batchnorm, initialize
from inception_fast.photos import load_photos
from tests.graph.families import FAMILIES
from tests.packages import VARIANTS, build, images

SIZE = (107, 139)


def check(model: nn.Module, photos: Tensor) -> Captured:
    """Captures ``model`` and compares it with itself in float64, its activations proven alive first."""
    captured = capture(model, photos[:1])
    with torch.no_grad():
        returned = copy.deepcopy(model).double()(photos.double())
    truth = pytree.tree_leaves(returned)
    ours = interpret(captured.graph, photos)
    for tensor, true in zip(ours, truth, strict=True):
        assert (true[0] - true[1]).norm() > 0.1 * true[0].norm(), "the photographs hardly differ"
        assert (tensor - true).norm() <= 1e-12 * true.norm()
    rebuilt = captured.structure.unflatten(ours)
    assert pytree.tree_structure(rebuilt) == pytree.tree_structure(returned)

    state = model.state_dict()
    for node in captured.graph.nodes:
        if node.op.kind in ("Conv2d", "Linear"):
            assert isinstance(model.get_submodule(node.name), nn.Conv2d | nn.Linear) and node.origin == node.name
    computed = {name for name in captured.graph.params if name not in state}
    assert all(torch.equal(p, state[name]) for name, p in captured.graph.params.items() if name not in computed)
    assert all(".affine." in f".{name}" for name in computed)
    return captured


@pytest.mark.parametrize("name", VARIANTS)
def test_package(name: str) -> None:
    captured = check(build(name), images(name, 2, SIZE))
    kinds = Counter(node.op.kind for node in captured.graph.nodes)
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

# Blocks with a scale other than one.
RESIDUALS = {"inception_resnet_v2": 39, "embedding": 20, "classify": 20}


@pytest.mark.parametrize("name", FAMILIES)
def test_reference_network(name: str) -> None:
    with torch.device("meta"):
        model = FAMILIES[name][0](10)
    model = model.to_empty(device="cpu").eval()
    initialize(model, 0)
    photos = load_photos(SIZE, 6)
    calibrate_batchnorm(model, photos)
    check(model, photos[:2])
