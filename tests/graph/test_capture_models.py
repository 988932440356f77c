"""The reference networks: the Graph computes what the module computes. The packages' are in ``tests/dropin``."""

from __future__ import annotations

import copy

import pytest
import torch

from inception_fast.graph.capture import capture
from inception_fast.models.calibration import calibrate_batchnorm, initialize
from inception_fast.photos import load_photos
from tests.graph.capturing import check_captured
from tests.graph.families import FAMILIES

SIZE = (107, 139)


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_reference_network(name: str) -> None:
    with torch.device("meta"):
        model = FAMILIES[name][0](10)
    model = model.to_empty(device="cpu").eval()
    initialize(model, 0)
    photos = load_photos(SIZE, 6)
    calibrate_batchnorm(model, photos)
    truth = copy.deepcopy(model).double()(photos[:2].double())
    check_captured(capture(model, photos[:1]), model, photos[:2], truth)
