"""The transform that a trace has in place of torchvision's: its results and errors, and who gets it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from inception_fast.graph.normalizing import numbers_decide

MEAN, STD = (0.4, 0.1, 0.3), [0.2, 0.5, 2]


@pytest.fixture
def transforms() -> Any:
    return pytest.importorskip("torchvision.transforms._functional_tensor")


@pytest.fixture
def asked(transforms: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The images that torchvision's own function is called with."""
    images: list[Any] = []
    original = transforms.normalize

    def normalize(tensor: Any, *args: Any) -> Any:
        images.append(tensor)
        return original(tensor, *args)

    monkeypatch.setattr(transforms, "normalize", normalize)
    return images


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 5)])
def test_numbers_make_the_same_images(
    shape: tuple[int, ...], dtype: torch.dtype, transforms: Any, asked: list[Any]
) -> None:
    x = torch.rand(shape).to(dtype)
    expected, given = transforms.normalize(x.clone(), MEAN, STD), x.clone()
    asked.clear()
    with numbers_decide():
        found = transforms.normalize(x, MEAN, STD)
        assert torch.equal(x, given) and torch.equal(found, expected) and found.dtype == dtype
        assert transforms.normalize(x, MEAN, STD, True) is x
    assert torch.equal(x, expected) and not asked


@pytest.mark.parametrize("deviation", [2, torch.finfo(torch.float32).tiny])
def test_one_number_for_all_channels(deviation: float, transforms: Any, asked: list[Any]) -> None:
    """As small as numbers without a loss of digits are."""
    x = torch.rand(3, 4, 5)
    with numbers_decide():
        found = transforms.normalize(x, [0.4], [deviation])
    assert torch.equal(found, (x - torch.tensor(0.4)) / torch.tensor(deviation)) and not asked


STRANGE: dict[str, tuple[Any, Any, Any]] = {
    "no tensor": ([1.0], MEAN, STD),
    "bytes": (torch.zeros(3, 4, 5, dtype=torch.uint8), MEAN, STD),
    "no image": (torch.zeros(3, 4), MEAN, STD),
    "zero": (torch.zeros(3, 4, 5), MEAN, (0.2, 0.0, 0.2)),
    "zero in the image's dtype": (torch.zeros(3, 4, 5, dtype=torch.float16), MEAN, (0.2, 1e-9, 0.2)),
    "none": (torch.zeros(3, 4, 5), MEAN, []),
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=list(STRANGE))
def test_torchvision_refuses_itself_what_it_refuses(
    strange: tuple[Any, Any, Any], transforms: Any, asked: list[Any]
) -> None:
    with pytest.raises((AttributeError, RuntimeError, TypeError, ValueError)) as wanted:
        transforms.normalize(*strange)
    asked.clear()
    with numbers_decide(), pytest.raises(wanted.type) as found:
        transforms.normalize(*strange)
    assert str(found.value) == str(wanted.value) and len(asked) == 1


@pytest.mark.parametrize("vectors", [(torch.tensor(MEAN), STD), (MEAN, torch.tensor(STD))])
def test_tensors_are_torchvisions(vectors: tuple[Any, Any], transforms: Any, asked: list[Any]) -> None:
    x = torch.rand(3, 4, 5)
    with numbers_decide():
        found: Tensor = transforms.normalize(x, *vectors)
    assert len(asked) == 1
    torch.testing.assert_close(found, (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1))


def test_other_threads_have_torchvisions(transforms: Any, asked: list[Any]) -> None:
    x = torch.rand(3, 4, 5)
    with numbers_decide(), ThreadPoolExecutor(1) as pool:
        pool.submit(transforms.normalize, x, MEAN, STD).result()
    assert len(asked) == 1
