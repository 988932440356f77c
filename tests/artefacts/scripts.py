"""Small networks of the family and what ``torch.jit`` makes of them."""

import io
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from inception_fast.models.layers import BasicConv2d
from tests.nn.modules import lively

SIZE = 32


class Heads(NamedTuple):
    logits: Tensor
    aux: Tensor | None


class Block(nn.Module):
    """``[N, C, H, W]`` to ``[N, 14, H, W]``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = nn.Sequential(BasicConv2d(channels, 6, kernel_size=1), BasicConv2d(6, 8, kernel_size=3, padding=1))
        self.branches = nn.ModuleList([BasicConv2d(channels, 6, kernel_size=1), wide])

    def forward(self, x: Tensor) -> Tensor:
        maps: list[Tensor] = []
        for branch in self.branches:
            maps.append(branch(x))
        return torch.cat(maps, 1)


class Network(nn.Module):
    """``[N, 3, H, W]`` to maps of 14 channels, and a classifier of them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = BasicConv2d(3, 8, kernel_size=3, stride=2)
        self.blocks = nn.Sequential(Block(8), nn.MaxPool2d(3, 2), Block(14))
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(14, 5)
        self.offset = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)
        self.register_buffer("scale", torch.full((1, 3, 1, 1), 0.25))

    def features(self, x: Tensor) -> Tensor:
        return self.blocks(self.stem((x - self.offset) / self.scale))


class Dict(Network):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = self.features(x)
        pooled = F.adaptive_avg_pool2d(maps, (1, 1)).flatten(1)
        return {"maps": maps, "logits": self.fc(self.drop(pooled))}


class Tuple(Network):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = F.relu(self.features(x), inplace=True)
        pooled = maps.mean((2, 3)).view(maps.size(0), -1)
        return pooled, self.fc(pooled)


class Named(Network):
    def forward(self, x: Tensor) -> Heads:
        maps = self.features(F.interpolate(x, size=(24, 24), mode="bilinear", align_corners=False))
        return Heads(self.fc(torch.flatten(F.avg_pool2d(maps, maps.shape[2:]), 1)), None)


def scripted(model: nn.Module) -> nn.Module:
    return torch.jit.script(model)


def traced(model: nn.Module) -> nn.Module:
    return torch.jit.trace(model, images(2), strict=False)


def frozen(model: nn.Module) -> nn.Module:
    return torch.jit.freeze(scripted(model))


def loaded(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.jit.save(scripted(model), file)
    file.seek(0)
    return torch.jit.load(file)


def traced_and_loaded(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.jit.save(torch.jit.freeze(traced(model)), file)
    file.seek(0)
    return torch.jit.load(file)


MAKERS: list[Callable[[nn.Module], nn.Module]] = [scripted, traced, frozen, loaded, traced_and_loaded]


def images(batch: int) -> Tensor:
    return torch.randn(batch, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(batch))


def network(kind: type[Network]) -> Network:
    """In eval mode, with statistics that are not those of new layers."""
    torch.manual_seed(1)
    return lively(kind())


@torch.no_grad()
def assert_same(module: nn.Module, script: nn.Module, *args: object, **kwargs: object) -> None:
    """Of the same structure, and the same to the last bit."""
    # The script's own optimisations take long, and might round otherwise.
    with torch.jit.optimized_execution(False):
        got, expected = module(*args, **kwargs), script(*args, **kwargs)
    if isinstance(expected, tuple):
        assert getattr(got, "_fields", None) == getattr(expected, "_fields", None)
        got, expected = tuple(got), tuple(expected)
    ours, spec = pytree.tree_flatten(got)
    theirs, expected_spec = pytree.tree_flatten(expected)
    assert spec == expected_spec
    assert any(isinstance(t, Tensor) for t in theirs)
    assert all(torch.equal(a, b) if isinstance(b, Tensor) else a == b for a, b in zip(ours, theirs, strict=True))
