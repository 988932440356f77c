"""The networks and images to measure with, from what a user writes on the command line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from inception_fast.artefacts.choose import module_of
from inception_fast.errors import InputError
from inception_fast.models import input_size, list_models
from inception_fast.models.calibration import calibrate_batchnorm, initialize
from inception_fast.models.registry import create_calibrated
from inception_fast.photos import NAMES, load_photos

DEFAULT_SIZE = 299
CALIBRATION = 10
"""Images that ``int8`` is calibrated on."""
EXPECTED = (
    "a reference model, torchvision/NAME, timm/NAME, facenet-pytorch/InceptionResnetV1, the path of an .onnx file, or "
    "module:function that returns an nn.Module"
)


@dataclass(frozen=True)
class Target:
    """A network to measure: float32, eval mode, on the CPU.

    Attributes:
        size: side of its square images in pixels.
    """

    name: str
    model: nn.Module
    size: int


def load_target(name: str, size: int | None = None, *, random: bool = False) -> Target:
    """The network that a name means.

    Args:
        name: one of :func:`inception_fast.list_models`; ``torchvision/...``, ``timm/...`` or ``facenet-pytorch/...``
            for a package's network, which gets random weights that keep its activations alive; the path of an
            ``.onnx`` file; or ``module:function``, called without arguments, whose weights stay as they come.
        size: of its images; None for the size that it was made for (299 where that is not known).
        random: random weights are kept alive by noise, not by photographs.

    Raises:
        InputError: there is no such network, or it does not take images of that size.
        ModelFileError, OnnxUnavailableError, UnsupportedOpError: see :func:`inception_fast.artefacts.choose.module_of`.
        PhotosUnavailableError: the photographs are needed, and the packages that carry them are not installed.
    """
    if name in list_models():
        images = load_images(input_size(name), len(NAMES), random=random)
        return _fitting(Target(name, create_calibrated(name, images), size or input_size(name)))
    if name.lower().endswith(".onnx"):
        imported = module_of(name)
        return _fitting(Target(name, imported, size or _declared_size(imported)))
    package, slash, rest = name.partition("/")
    module, colon, function = name.partition(":")
    if slash and package in _PACKAGES:
        try:
            model, native = _PACKAGES[package](rest)
        except Exception as error:
            raise InputError("model", f"'{name}' ({_gist(error)})", EXPECTED) from error
        target = _fitting(Target(name, model.eval(), size or native))
        _enliven(model, load_images(target.size, len(NAMES), random=random))
        return target
    if colon:
        return _fitting(Target(name, _call_factory(module, function), size or DEFAULT_SIZE))
    raise InputError("model", repr(name), f"{EXPECTED}; reference models: {', '.join(list_models())}")


def _fitting(target: Target) -> Target:
    """``target``, once it was seen to take its images."""
    try:
        with torch.inference_mode():
            target.model(torch.zeros(1, 3, target.size, target.size))
    except Exception as error:
        got = f"{target.size}, for which {target.name} fails: {_gist(error)}"
        raise InputError("size", got, "a size of images that the network takes") from error
    return target


def _gist(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def load_images(size: int, count: int, *, random: bool = False) -> torch.Tensor:
    """``[count, 3, size, size]`` float32 in [-1, 1]: photographs, or with ``random`` noise that is always the same."""
    if random:
        return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return load_photos(size, count)


def load_calibration(size: int, *, random: bool = False) -> torch.Tensor:
    """Images for ``int8``, as :func:`load_images` but none of those: other crops of the photographs, or other noise."""
    if random:
        return torch.rand(CALIBRATION, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return load_photos(size, len(NAMES) + CALIBRATION, seed=1)[len(NAMES) :]


def repeat(images: torch.Tensor, count: int) -> torch.Tensor:
    """The first ``count`` of the images repeated over and over."""
    return images[torch.arange(count) % len(images)]


def _enliven(model: nn.Module, images: torch.Tensor) -> None:
    initialize(model.eval(), seed=0)
    calibrate_batchnorm(model, images)


def _torchvision(name: str) -> tuple[nn.Module, int]:
    from torchvision import models

    # Initialisation, which takes seconds, would be thrown away; only these networks let it be skipped.
    skip = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    model = models.get_model(name, weights=None, **skip)
    return model, 224 if name == "googlenet" else DEFAULT_SIZE


def _timm(name: str) -> tuple[nn.Module, int]:
    import timm

    model = timm.create_model(name, pretrained=False)
    return model, timm.data.resolve_model_data_config(model)["input_size"][-1]


def _facenet(name: str) -> tuple[nn.Module, int]:
    import facenet_pytorch

    return getattr(facenet_pytorch, name)(), 160


_PACKAGES = {"torchvision": _torchvision, "timm": _timm, "facenet-pytorch": _facenet}


def _declared_size(model: nn.Module) -> int:
    """That of the images that an imported file says it takes."""
    return next((s[-1] for s in getattr(model, "meta", {}).get("input_shapes", []) if s and s[-1]), DEFAULT_SIZE)


def _call_factory(module: str, function: str) -> nn.Module:
    # A script's own folder is not on the path of an installed command; the user's is the current one.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        factory = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InputError("model", f"'{module}:{function}' ({error})", EXPECTED) from error
    model = factory()
    if not isinstance(model, nn.Module):
        raise InputError("model", f"'{module}:{function}' that returns {type(model).__name__}", EXPECTED)
    return model.eval()


def chosen_models(names: Sequence[str], everything: bool) -> list[str]:
    """The names asked for, all reference models, or Inception-v3 where nothing was asked for."""
    if everything:
        return [*list_models(), *(n for n in names if n not in list_models())]
    return list(names) or ["inception_v3"]
