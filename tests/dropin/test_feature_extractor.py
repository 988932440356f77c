"""torchvision's feature extractors: traced modules whose results are in containers of fx."""

from __future__ import annotations

import pytest
import torch

import inception_fast
from tests.graph.check import relative_error


@torch.no_grad()
def test_features_by_name() -> None:
    pytest.importorskip("torchvision")
    from torchvision.models import GoogLeNet
    from torchvision.models.feature_extraction import create_feature_extractor

    torch.manual_seed(0)
    whole = GoogLeNet(aux_logits=False, init_weights=False, transform_input=False).eval()
    extractor, x = create_feature_extractor(whole, ["inception3a", "flatten"]), torch.rand(2, 3, 96, 96)
    got = inception_fast.optimize(extractor, x[:1], backend="cpu")(x)
    truth = extractor.double()(x.double())
    assert list(got) == list(truth) == ["inception3a", "flatten"]
    for name, want in truth.items():
        assert relative_error(got[name].double(), want) < 1e-5, name
