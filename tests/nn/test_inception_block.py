"""InceptionBlock: the blocks of every package."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision.models.inception as torchvision_v3
from timm.layers import ConvNormAct
from timm.models.inception_resnet_v2 import Block8, Block35
from timm.models.inception_v4 import InceptionC
from torch import nn
from torchvision.models.googlenet import Inception

import inception_fast as ifast
from tests.nn.modules import assert_same, lively

facenet = pytest.importorskip("facenet_pytorch.models.inception_resnet_v1")
fid = pytest.importorskip("pytorch_fid.inception")

BLOCKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "torchvision A": (lambda: torchvision_v3.InceptionA(20, pool_features=8), 20),
    "torchvision B": (lambda: torchvision_v3.InceptionB(20), 20),
    "torchvision C": (lambda: torchvision_v3.InceptionC(20, channels_7x7=12), 20),
    "torchvision E": (lambda: torchvision_v3.InceptionE(20), 20),
    "googlenet": (lambda: Inception(20, 4, 6, 8, 2, 4, 4), 20),
    "pytorch-fid E_2": (lambda: fid.FIDInceptionE_2(20), 20),
    "timm v4 C": (lambda: InceptionC(), 1536),
    "timm residual 35": (lambda: Block35(scale=0.17), 320),
    "timm residual 8, no ReLU": (lambda: Block8(no_relu=True), 2080),
    "facenet residual 17": (lambda: facenet.Block17(scale=0.1), 896),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_from_torch(name: str) -> None:
    make, channels = BLOCKS[name]
    block = lively(make())
    fast = ifast.nn.InceptionBlock.from_torch(block)
    assert_same(fast, block, 2, channels, 7, 9)
    assert list(fast.state_dict()) == list(block.state_dict())


def test_any_size_and_batch() -> None:
    block = lively(BLOCKS["torchvision A"][0]())
    fast = ifast.nn.InceptionBlock.from_torch(block)
    for shape in [(1, 20, 5, 5), (3, 20, 8, 5), (2, 20, 5, 5)]:
        assert_same(fast, block, *shape)


def test_made_directly() -> None:
    """Branches keep their order and are called after it."""
    branches = [lively(torchvision_v3.BasicConv2d(6, c, kernel_size=1), seed=c) for c in (3, 5)]
    fast = ifast.nn.InceptionBlock(*branches)
    x = torch.randn(2, 6, 5, 7)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), torch.cat([b(x) for b in branches], 1))
    assert {k.split(".")[0] for k in fast.state_dict()} == {"branch0", "branch1"}


def test_refuses_no_branches() -> None:
    with pytest.raises(ifast.InputError, match="branches: got none, expected at least one module"):
        ifast.nn.InceptionBlock()


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_refuses_scripts() -> None:
    script = torch.jit.trace(lively(nn.Sequential(nn.Conv2d(3, 4, 1))), torch.zeros(1, 3, 4, 4))
    with pytest.raises(ifast.InputTypeError, match=r"module: got .*, expected a torch"):
        ifast.nn.InceptionBlock.from_torch(script)


class DependsOnSize(nn.Module):
    """Pads as TensorFlow does, by the image's size, and takes the maximum over all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(nn.functional.pad(x, (0, (x.shape[3] + 1) % 2, 0, (x.shape[2] + 1) % 2)))
        return torch.cat([y, torch.relu(y)], 1) if x.shape[2] > 8 else y


def test_modules_that_depend_on_the_size() -> None:
    block = lively(DependsOnSize())
    fast = ifast.nn.InceptionBlock.from_torch(block)
    for shape in [(2, 3, 9, 9), (2, 3, 10, 9), (2, 3, 9, 12), (2, 3, 5, 5)]:
        assert_same(fast, block, *shape)


class Several(nn.Module):
    """Returns more than one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = ConvNormAct(3, 4, 3)

    def forward(self, x: torch.Tensor) -> dict[str, object]:
        y = self.layer(x)
        return {"map": y, "features": [y.mean((2, 3)), None]}


def test_structure_of_the_outputs() -> None:
    block = lively(Several())
    fast = ifast.nn.InceptionBlock.from_torch(block)
    x = torch.randn(2, 3, 7, 5)
    with torch.no_grad():
        got, expected = fast(x), block(x)
    assert list(got) == ["map", "features"] and got["features"][1] is None
    torch.testing.assert_close(got["map"], expected["map"])
    torch.testing.assert_close(got["features"][0], expected["features"][0])
