"""What a script does with Python's values: sizes, lists, dicts, strings, enumerations and numbers that decide."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import inception_fast as ifast
from inception_fast.artefacts.choose import module_of
from tests.artefacts.scripts import Tuple, assert_same, loaded, network

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]


class Sizes(nn.Module):
    """What a trace computes of sizes."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        high, wide = x.shape[2] // 2, (x.shape[3] + 1) // 3
        part = x[:, :, :high, :wide]
        part = F.interpolate(part, size=(x.shape[2] * 2 // 3, x.shape[3]), mode="nearest")
        first, other = part.split([1, 2], 1)
        half = x.shape[2] / 2
        return torch.cat([first, other * half], 1).view(x.size(0), -1), x.flatten(1).shape[1] * x.mean()


class Containers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.names = ["one", "two"]

    def forward(self, x: Tensor, index: int = 1) -> tuple[Tensor, Tensor, str, int, int, dict[str, Tensor]]:
        maps = [x]
        named = {"zero": x}
        for i, name in enumerate(self.names):
            y = x * float(i + 1)
            maps += [y]
            named[name] = y
        maps.pop()
        while len(maps) < 4:
            maps.append(maps[-1] + 1)
        if "one" in named and index > 0:
            maps.insert(0, named["one"])
        maps.extend([x, x])
        text = f"{index} of {len(maps)}"
        row = torch.zeros(x.size(0), 8) + torch.arange(8)
        return torch.stack(maps[::-1]), row, text, max([m.size(1) for m in maps]), min(3, index), named


class Changed(nn.Module):
    """Decides on numbers that are tensors, one of which has changed since it was looked at."""

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.tensor([0.0, 1.0])
        first = scale[:1]
        scale += 1
        if bool((first == 0).any()):
            return x
        return x * 2


def numbers(batch: int, height: int = 20, width: int = 21) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(batch))


def test_sizes_of_a_trace() -> None:
    script = torch.jit.trace(Sizes(), numbers(2), check_trace=False)
    module = module_of(script)
    for x in (numbers(2), numbers(5), numbers(1, 33, 40)):
        assert_same(module, script, x)


@pytest.mark.parametrize("model", [Sizes(), Containers(), Changed()])
def test_scripted(model: nn.Module) -> None:
    script = loaded(model.eval())
    module = module_of(script)
    for batch in (1, 3):
        assert_same(module, script, numbers(batch))


def test_numbers_that_have_changed_are_not_guessed() -> None:
    with pytest.raises(ifast.CaptureError, match=r"the script asks for a tensor's value at .*_operators.py:"):
        ifast.optimize(loaded(nn.Sequential(Changed(), nn.Conv2d(3, 4, 1)).eval()), numbers(2))


def test_transforms_in_front() -> None:
    """torchvision's preset has enumerations, sizes of images, and a branch on numbers that are tensors by then."""
    presets: Any = pytest.importorskip("torchvision.transforms._presets")

    class Photos(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.prepare = presets.ImageClassification(crop_size=32, resize_size=34)
            self.network = network(Tuple)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.network(self.prepare(x))

    original = Photos().eval()
    photos = torch.randint(0, 256, (3, 3, 50, 61), dtype=torch.uint8)
    script = loaded(original)
    assert_same(module_of(script), script, photos)
    fast = ifast.optimize(script, photos[:1], backend="cpu")
    assert isinstance(fast, ifast.PartitionedModel)
    assert len(fast.engines) == 1
    in_double = copy.deepcopy(original.network).double()
    with torch.no_grad():
        for batch in (photos[:2], photos):
            for got, true in zip(fast(batch), in_double(original.prepare(batch).double()), strict=True):
                assert (got - true).norm() <= 1e-5 * true.norm()
