"""The reference networks by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from inception_fast.errors import InputError
from inception_fast.models.calibration import calibrate_batchnorm, initialize
from inception_fast.models.googlenet import GoogLeNet
from inception_fast.models.inception_resnet import InceptionResnetV1, InceptionResnetV2
from inception_fast.models.inception_v2 import InceptionV2
from inception_fast.models.inception_v3 import InceptionV3
from inception_fast.models.inception_v4 import InceptionV4


@dataclass(frozen=True)
class _Entry:
    build: Callable[[int], nn.Module]
    """``num_classes -> network``."""
    input_size: int
    """Side in pixels of the images that the authors use."""


_MODELS = {
    "googlenet": _Entry(GoogLeNet, 224),
    "inception_v2": _Entry(InceptionV2, 224),
    "inception_v3": _Entry(InceptionV3, 299),
    "inception_v4": _Entry(InceptionV4, 299),
    "inception_resnet_v1": _Entry(InceptionResnetV1, 160),
    "inception_resnet_v2": _Entry(InceptionResnetV2, 299),
}


def list_models() -> list[str]:
    """Names that :func:`create_model` takes."""
    return list(_MODELS)


def input_size(name: str) -> int:
    """Side in pixels of the square images that the network ``name`` is made for.

    Raises:
        InputError: if there is no such network.
    """
    return _entry(name).input_size


def create_model(name: str, *, num_classes: int = 1000, seed: int = 0) -> nn.Module:
    """Build a reference network with live activations.

    The weights are random and the BatchNorm statistics are those of real photographs at the network's native size (see
    :mod:`inception_fast.models.calibration`), so different images give clearly different outputs. To hold trained
    weights, take the class itself (``InceptionV3()`` and so on), which spares the calibration, and load the package's
    ``state_dict``.

    Args:
        name: one of :func:`list_models`.
        num_classes: outputs of the classifier. 0 leaves it out, and the features come out: unit-length embeddings of
            512 numbers from ``inception_resnet_v1``, as its users expect, and the pooled last block from the others.
        seed: chooses the weights. The same seed gives the same bits on one machine with one number of threads.

    Returns:
        float32 module on the CPU in eval mode: ``(N, 3, H, W)`` images in [-1, 1] to ``(N, num_classes)`` logits.

    Raises:
        InputError: if there is no such network, or ``num_classes`` is negative.
        PhotosUnavailableError: if the packages that carry the photographs are not installed.
    """
    entry = _entry(name)
    if num_classes < 0:
        raise InputError("num_classes", num_classes, "0 or more")
    # Imported late: only this function needs Pillow.
    from inception_fast.photos import load_photos

    return create_calibrated(name, load_photos(entry.input_size), num_classes=num_classes, seed=seed)


def create_calibrated(name: str, images: torch.Tensor, *, num_classes: int = 1000, seed: int = 0) -> nn.Module:
    """As :func:`create_model`, with other images in the place of the photographs.

    Args:
        images: ``[N, 3, H, W]`` float32 in [-1, 1] on the CPU, of the network's native size.
    """
    # PyTorch's own initialisation would be thrown away, and would draw from the caller's global generator.
    with torch.device("meta"):
        model = _entry(name).build(num_classes)
    model = model.to_empty(device="cpu").float().eval()
    initialize(model, seed)
    calibrate_batchnorm(model, images)
    return model


def _entry(name: str) -> _Entry:
    if name not in _MODELS:
        raise InputError("name", repr(name), f"one of {', '.join(_MODELS)}")
    return _MODELS[name]
