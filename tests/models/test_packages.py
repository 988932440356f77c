"""The packages' own weights load into the reference networks, which then give the packages' own outputs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from inception_fast.models import GoogLeNet, InceptionResnetV1, InceptionResnetV2, InceptionV3, InceptionV4
from inception_fast.models.calibration import calibrate_batchnorm, initialize
from inception_fast.photos import load_photos

facenet_pytorch = pytest.importorskip("facenet_pytorch")

Build = Callable[[], nn.Module]
OBLONG = (149, 187)
"""An odd size, where rounding up and down differ."""

# Package's network, ours, native size.
PAIRS: dict[str, tuple[Build, Build, int]] = {
    "torchvision googlenet": (
        lambda: torchvision.models.GoogLeNet(aux_logits=False, init_weights=False),
        lambda: GoogLeNet(),
        224,
    ),
    "torchvision googlenet, auxiliary heads, transform_input": (
        lambda: torchvision.models.GoogLeNet(aux_logits=True, init_weights=False, transform_input=True),
        lambda: GoogLeNet(transform_input=True),
        224,
    ),
    "torchvision inception_v3": (
        lambda: torchvision.models.Inception3(aux_logits=False, init_weights=False),
        lambda: InceptionV3(),
        299,
    ),
    "torchvision inception_v3, auxiliary head, transform_input": (
        lambda: torchvision.models.Inception3(aux_logits=True, init_weights=False, transform_input=True),
        lambda: InceptionV3(transform_input=True),
        299,
    ),
    "timm inception_v4": (lambda: timm.create_model("inception_v4"), lambda: InceptionV4(), 299),
    "timm inception_v4, features": (
        lambda: timm.create_model("inception_v4", num_classes=0),
        lambda: InceptionV4(num_classes=0),
        299,
    ),
    "timm inception_resnet_v2": (
        lambda: timm.create_model("inception_resnet_v2", num_classes=10),
        lambda: InceptionResnetV2(num_classes=10),
        299,
    ),
    "facenet InceptionResnetV1, embeddings": (
        lambda: facenet_pytorch.InceptionResnetV1(),
        lambda: InceptionResnetV1(num_classes=0),
        160,
    ),
    "facenet InceptionResnetV1, logits": (
        lambda: facenet_pytorch.InceptionResnetV1(classify=True, num_classes=1000),
        lambda: InceptionResnetV1(),
        160,
    ),
}


def relative_l2(got: Tensor, want: Tensor) -> float:
    return float((got.double() - want.double()).norm() / want.double().norm())


def unset(build: Build) -> nn.Module:
    """A network in eval mode whose weights nobody has drawn, which takes longer than all else here."""
    with torch.device("meta"):
        network = build()
    return network.to_empty(device="cpu").eval()


def live(package: nn.Module) -> nn.Module:
    """Fill a package's network with weights under which its output depends on the image."""
    initialize(package, seed=1)
    calibrate_batchnorm(package, load_photos(OBLONG, 4))
    return package


@pytest.mark.parametrize("pair", PAIRS)
@torch.no_grad()
def test_package_weights_give_package_outputs(pair: str) -> None:
    build_theirs, build_ours, size = PAIRS[pair]
    theirs, ours = live(unset(build_theirs)), unset(build_ours)
    ours.load_state_dict(theirs.state_dict())

    for image_size in (size, OBLONG):
        images = load_photos(image_size, 2)
        want = theirs(images)
        assert relative_l2(want[0], want[1]) > 0.1, (
            "the weights do not tell two photographs apart: the test would prove nothing"
        )
        assert relative_l2(ours(images), want) <= 1e-6


@pytest.mark.parametrize(
    ("package", "ours", "dropped"),
    [
        (lambda: torchvision.models.Inception3(init_weights=False), InceptionV3, {"AuxLogits", "fc"}),
        (lambda: torchvision.models.GoogLeNet(init_weights=False), GoogLeNet, {"aux1", "aux2", "fc"}),
        (lambda: timm.create_model("inception_v4"), InceptionV4, {"last_linear"}),
        (lambda: timm.create_model("inception_resnet_v2"), InceptionResnetV2, {"classif"}),
        (
            lambda: facenet_pytorch.InceptionResnetV1(classify=True, num_classes=7),
            InceptionResnetV1,
            {"logits"},
        ),
    ],
    ids=["inception_v3", "googlenet", "inception_v4", "inception_resnet_v2", "inception_resnet_v1"],
)
def test_feature_extractor_takes_classifier_weights(
    package: Build, ours: Callable[..., nn.Module], dropped: set[str]
) -> None:
    with torch.device("meta"):
        weights, features = package().state_dict(), ours(num_classes=0)
    keys = set(weights)
    features.load_state_dict(weights)
    assert set(weights) == keys, "loading changed the caller's dictionary"
    assert {key.split(".")[0] for key in keys - set(features.state_dict())} == dropped


def test_other_surplus_or_missing_keys_still_fail() -> None:
    with torch.device("meta"):
        network = InceptionV3()
    weights = network.state_dict()
    with pytest.raises(RuntimeError, match=r"Unexpected key.*Mixed_8a"):
        network.load_state_dict({**weights, "Mixed_8a.conv.weight": torch.zeros(1)})
    del weights["fc.bias"]
    with pytest.raises(RuntimeError, match=r"Missing key.*fc\.bias"):
        network.load_state_dict(weights)
