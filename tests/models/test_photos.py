"""The loader of real photographs."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
import torch

from inception_fast import photos
from inception_fast.errors import InceptionFastError, InputError
from inception_fast.models import create_model
from inception_fast.photos import NAMES, PhotosUnavailableError, load_photos


def test_batch() -> None:
    batch = load_photos((96, 128))
    assert batch.shape == (len(NAMES), 3, 96, 128)
    assert batch.dtype is torch.float32
    assert batch.is_contiguous()
    assert -1 <= batch.min() < -0.9
    assert 0.9 < batch.max() <= 1
    assert load_photos(64, 3).shape == (3, 3, 64, 64)


def test_any_aspect_ratio_fits() -> None:
    for size in [(149, 187), (299, 301), (7, 500), (1, 64), (3, 1)]:
        assert load_photos(size, 2 * len(NAMES)).shape[2:] == size


def test_same_arguments_give_the_same_bits() -> None:
    count = len(NAMES) + 4
    assert torch.equal(load_photos(64, count), load_photos(64, count))
    assert torch.equal(load_photos(64, count)[:5], load_photos(64, 5)), "an image depends on how many follow it"
    other = load_photos(64, count, seed=1)
    assert torch.equal(load_photos(64, count)[: len(NAMES)], other[: len(NAMES)])
    assert not torch.equal(load_photos(64, count)[len(NAMES) :], other[len(NAMES) :])


def test_all_images_differ() -> None:
    images = load_photos(64, 3 * len(NAMES)).flatten(1)
    distances = torch.cdist(images, images) / images.norm(dim=1).mean()
    assert distances.fill_diagonal_(torch.inf).min() > 0.1


def test_shape_of_the_subject_is_kept() -> None:
    """An oblong size crops the photograph and does not squeeze it: a tall crop is the middle of the square one."""
    square, tall = load_photos(64)[:, :, :, 16:48], load_photos((64, 32))
    assert (square - tall).abs().mean() < 0.05


@pytest.mark.parametrize("size", [0, -3, (0, 5), (5, 0), (5,), (5, 5, 5)])
def test_bad_size(size: object) -> None:
    with pytest.raises(InputError, match=r"^size: got "):
        load_photos(size)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, -1])
def test_bad_count(count: int) -> None:
    with pytest.raises(InputError, match=f"^count: got {count}, expected at least 1"):
        load_photos(32, count)


@pytest.mark.parametrize("package", ["skimage", "sklearn"])
def test_missing_package_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find_spec(name))
    photos._decode.cache_clear()
    for function in (lambda: load_photos(32), lambda: create_model("googlenet")):
        with pytest.raises(PhotosUnavailableError, match=rf"^{package} .*inception_fast\[photos\]") as caught:
            function()
        assert isinstance(caught.value, InceptionFastError)
        assert isinstance(caught.value, ImportError)


def test_missing_pillow_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    photos._decode.cache_clear()
    with pytest.raises(PhotosUnavailableError, match=r"^Pillow .*inception_fast\[photos\]"):
        load_photos(32)


def test_importing_the_models_needs_no_photographs() -> None:
    code = "import sys, inception_fast.models; sys.exit(bool({'PIL', 'skimage', 'sklearn'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
