"""The models that people bring, built by the packages that they come from, with live weights and without a download.

``VARIANTS`` lists every variant by name; :func:`build` makes one of them. What the weights are does not matter to a
test as long as activations stay alive, so they are those of :mod:`inception_fast.models.calibration`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from unittest import mock

import torch
from torch import nn

from inception_fast.models.calibration import calibrate_batchnorm, initialize
from inception_fast.photos import load_photos


@dataclass(frozen=True)
class Variant:
    """A model as a package builds it.

    Attributes:
        make: builds the network; its parameters are overwritten afterwards.
        sizes: image sizes (height, width) to test; the first is the package's own.
        unit_range: the network wants images in [0, 1] rather than [-1, 1].
    """

    make: Callable[[], nn.Module]
    sizes: tuple[tuple[int, int], tuple[int, int]]
    unit_range: bool = False


def torchvision_model(name: str, *, aux_logits: bool, transform_input: bool, num_classes: int = 1000) -> nn.Module:
    """torchvision's ``inception_v3`` or ``googlenet``, without its own slow initialisation."""
    import torchvision.models

    return torchvision.models.get_model(
        name,
        weights=None,
        init_weights=False,
        aux_logits=aux_logits,
        transform_input=transform_input,
        num_classes=num_classes,
    )


def timm_model(name: str, **options: object) -> nn.Module:
    import timm

    return timm.create_model(name, pretrained=False, **options)


def facenet_model(**options: object) -> nn.Module:
    from facenet_pytorch import InceptionResnetV1

    return InceptionResnetV1(pretrained=None, **options)


def pytorch_fid_model(output_blocks: tuple[int, ...] = (0, 1, 2, 3), **options: bool) -> nn.Module:
    """pytorch-fid's extractor. It insists on loading weights; it gets those of torchvision's network, which fit."""
    from pytorch_fid import inception

    donor = torchvision_model("inception_v3", aux_logits=False, transform_input=False, num_classes=1008)
    with mock.patch.object(inception, "load_state_dict_from_url", lambda *_, **__: donor.state_dict()):
        return inception.InceptionV3(output_blocks, **options)


def _torchvision(name: str, size: int, other: int, aux_logits: bool, transform_input: bool) -> Variant:
    return Variant(
        lambda: torchvision_model(name, aux_logits=aux_logits, transform_input=transform_input),
        ((size, size), (other, other + 32)),
    )


def _timm(name: str, **options: object) -> Variant:
    return Variant(lambda: timm_model(name, **options), ((299, 299), (203, 171)))


def _facenet(**options: object) -> Variant:
    return Variant(lambda: facenet_model(**options), ((160, 160), (192, 144)))


VARIANTS: dict[str, Variant] = {
    **{
        f"torchvision-{name}{'-aux' * aux}{'-transform' * transform}": _torchvision(name, size, other, aux, transform)
        for name, size, other in [("inception_v3", 299, 203), ("googlenet", 224, 160)]
        for aux in (False, True)
        for transform in (False, True)
    },
    **{
        f"timm-{name}{suffix}": _timm(name, **options)
        for name in ("inception_v3", "inception_v4", "inception_resnet_v2")
        for suffix, options in [("", {}), ("-headless", {"num_classes": 0}), ("-features", {"features_only": True})]
    },
    "facenet-embedding": _facenet(),
    "facenet-classify": _facenet(classify=True, num_classes=31),
    "pytorch-fid": Variant(pytorch_fid_model, ((299, 299), (203, 235)), unit_range=True),
    "pytorch-fid-unresized": Variant(
        lambda: pytorch_fid_model(resize_input=False), ((299, 299), (203, 235)), unit_range=True
    ),
}


def build(name: str, *, seed: int = 0) -> nn.Module:
    """The variant ``name`` of :data:`VARIANTS` in float32 on the CPU, in eval mode, its activations alive."""
    with torch.device("meta"):
        model = VARIANTS[name].make()
    model = model.to_empty(device="cpu").eval()
    initialize(model, seed)
    # Few and small images are enough for statistics, and keep the tests quick.
    size = VARIANTS[name].sizes[1]
    calibrate_batchnorm(model, images(name, count=4, size=size))
    return model


def images(name: str, count: int, size: tuple[int, int] | None = None) -> torch.Tensor:
    """Photographs ``(count, 3, height, width)`` in float32, in the variant's range, and of its own size by default."""
    variant = VARIANTS[name]
    photos = load_photos(size or variant.sizes[0], count)
    return (photos + 1) / 2 if variant.unit_range else photos
