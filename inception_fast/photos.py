"""Real photographs for calibration, tests and demonstrations.

They are the sample images inside the wheels of scikit-image and scikit-learn (``pip install inception_fast[photos]``),
read from the installed files: nothing is downloaded and neither package is imported.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from inception_fast.errors import InceptionFastError, InputError

if TYPE_CHECKING:
    from PIL.Image import Image

# Colour photographs with distinct subjects, by package and path inside it.
_FILES = (
    ("skimage", "data/astronaut.png"),
    ("sklearn", "datasets/images/china.jpg"),
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/coffee.png"),
    ("sklearn", "datasets/images/flower.jpg"),
    ("skimage", "data/rocket.jpg"),
    ("skimage", "data/motorcycle_left.png"),
    ("skimage", "data/hubble_deep_field.jpg"),
    ("skimage", "data/ihc.png"),
    ("skimage", "data/retina.jpg"),
)

NAMES: tuple[str, ...] = tuple(Path(path).stem for _, path in _FILES)
"""The photographs in the order in which :func:`load_photos` returns them."""

_EXTRA = "the photographs in scikit-image and scikit-learn are needed (pip install 'inception_fast[photos]')"


class PhotosUnavailableError(InceptionFastError, ImportError):
    """A package that carries the photographs, or the Pillow that decodes them, is not installed."""


def load_photos(size: int | tuple[int, int], count: int | None = None, *, seed: int = 0) -> torch.Tensor:
    """Load real photographs as a batch.

    The first ``len(NAMES)`` images are the largest centred crop of each photograph with the aspect ratio asked for;
    further ones are crops of at least half that side at random places, every other one mirrored. Each is resized with
    Pillow's bicubic filter.

    Args:
        size: side of the square, or ``(height, width)``, in pixels.
        count: number of images; ``None`` means each photograph once.
        seed: chooses the crops beyond the first ``len(NAMES)``.

    Returns:
        float32 tensor ``(count, 3, height, width)``, RGB, contiguous, in [-1, 1] (``pixel / 127.5 - 1``, the convention
        of the Inception family). The same arguments give the same bits.

    Raises:
        InputError: if ``size`` is not one or two positive integers, or ``count`` is not positive.
        PhotosUnavailableError: if scikit-image, scikit-learn or Pillow is not installed.
    """
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or min(sides) < 1:
        raise InputError("size", size, "a positive side, or a positive height and width")
    height, width = sides
    count = len(_FILES) if count is None else count
    if count < 1:
        raise InputError("count", count, "at least 1")

    rng = np.random.default_rng(seed)
    batch = np.empty((count, 3, height, width), np.float32)
    for i in range(count):
        image = _decode(*_FILES[i % len(_FILES)])
        if i < len(_FILES):
            pixels = _crop(image, height, width, 1.0, 0.5, 0.5)
        else:
            scale, left, top = rng.uniform((0.5, 0.0, 0.0), (0.9, 1.0, 1.0))
            pixels = _crop(image, height, width, scale, left, top)[:, :: -1 if i % 2 else 1]
        batch[i] = pixels.transpose(2, 0, 1)
    return torch.from_numpy(batch / 127.5 - 1.0)


def _crop(image: Image, height: int, width: int, scale: float, left: float, top: float) -> np.ndarray:
    """Cut and resize a window of ``scale`` times the largest that fits, ``left`` and ``top`` as shares of the slack."""
    fit = scale * min(image.width / width, image.height / height)
    # Whole pixels, so that rounding never puts an edge outside the photograph.
    crop_w, crop_h = max(1, int(fit * width)), max(1, int(fit * height))
    x, y = int(left * (image.width - crop_w)), int(top * (image.height - crop_h))
    bicubic = 3  # PIL.Image.BICUBIC, without importing Pillow at module level
    return np.asarray(image.resize((width, height), bicubic, box=(x, y, x + crop_w, y + crop_h)))


@lru_cache(maxsize=len(_FILES))
def _decode(package: str, path: str) -> Image:
    try:
        from PIL import Image
    except ImportError as error:
        raise PhotosUnavailableError(f"Pillow is not installed; {_EXTRA}") from error
    # find_spec finds the package's folder without running its (slow) import.
    spec = importlib.util.find_spec(package)
    file = Path(next(iter(spec.submodule_search_locations)), path) if spec and spec.submodule_search_locations else None
    if file is None or not file.is_file():
        raise PhotosUnavailableError(f"{package} has no file {path} here; {_EXTRA}")
    with Image.open(file) as image:
        return image.convert("RGB")
