"""The four packages' own networks on the Triton kernels, against themselves in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.utils import _pytree as pytree

import inception_fast as ifast
from tests.graph.check import relative_error
from tests.packages import VARIANTS, build, images
from tests.triton.exact import DEVICE, requires_triton

pytestmark = requires_triton

QUICK = {
    "torchvision-googlenet-aux-transform": (63, 66),
    "timm-inception_v3-features": (77, 75),
    "facenet-embedding": (79, 83),
    "pytorch-fid-unresized": (75, 79),
}
"""A variant of each package, and a size near the smallest at which it has an image everywhere."""

SLOW = [
    pytest.param(name, variant.sizes[1], id=name, marks=pytest.mark.slow)
    for name, variant in VARIANTS.items()
    if name not in QUICK
]


@pytest.mark.parametrize(("name", "size"), [*(pytest.param(*item, id=item[0]) for item in QUICK.items()), *SLOW])
@torch.no_grad()
def test_same_outputs(name: str, size: tuple[int, int]) -> None:
    """At most twice the error of PyTorch eager, or 1e-5; and the branches of its blocks do share launches."""
    model, x = build(name), images(name, 1, size)
    truth, structure = pytree.tree_flatten(copy.deepcopy(model).double()(x.double()))
    eager = [relative_error(t.double(), u) for t, u in zip(pytree.tree_leaves(model(x)), truth, strict=True)]
    fast = ifast.optimize(model, x, backend="triton", strict=True) if DEVICE.type == "cpu" else None
    fast = fast or ifast.optimize(model.to(DEVICE), x.to(DEVICE), backend="triton", strict=True)

    got, found = pytree.tree_flatten(fast(x.to(DEVICE)))

    assert found == structure and fast.backend == "triton"
    for result, expected, error in zip(got, truth, eager, strict=True):
        assert relative_error(result.cpu().double(), expected) <= max(1e-5, 2 * error)
    if DEVICE.type == "cpu":
        assert sum(len(names) > 1 for names in fast.executor_for(DEVICE)[1].launches(1)) > 5


def test_every_package_is_quick_once() -> None:
    assert {name.partition("-")[0] for name in QUICK} == {name.partition("-")[0] for name in VARIANTS}
