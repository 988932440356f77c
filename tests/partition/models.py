"""Models of which only parts are the Inception family's, as people have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inception_fast.models.googlenet import Inception
from inception_fast.models.layers import BasicConv2d
from tests.nn.modules import lively

SIZE = 24
CHANNELS = 20


def trunk(channels: int = 3) -> nn.Sequential:
    """A stem and a block: ``[N, channels, H, W]`` to ``[N, 20, H/2, W/2]``."""
    return nn.Sequential(BasicConv2d(channels, 12, kernel_size=3, stride=2, padding=1), Inception(12, 4, 6, 8, 2, 4, 4))


class Parts(nn.Module):
    """``forward`` as a module of a trunk, a second block, a classifier, and other members."""

    def __init__(self, forward: Callable[..., Any], **members: nn.Module) -> None:
        super().__init__()
        self.function = forward
        self.trunk, self.block, self.fc = trunk(), Inception(CHANNELS, 4, 6, 8, 2, 4, 4), nn.Linear(CHANNELS, 7)
        for name, member in members.items():
            setattr(self, name, member)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(self, *args, **kwargs)

    def logits(self, maps: Tensor) -> Tensor:
        return self.fc(F.adaptive_avg_pool2d(maps, 1).flatten(1))


class Attention(nn.Module):
    """Heads over the positions of a feature map, and what they gather."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(CHANNELS, 4, batch_first=True)
        self.norm = nn.LayerNorm(CHANNELS)

    def forward(self, maps: Tensor) -> Tensor:
        tokens = maps.flatten(2).transpose(1, 2)
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return self.norm(tokens + mixed).mean(1)


class Gate(nn.Module):
    """Squeeze and excitation, by a function that nobody serves."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(CHANNELS, 4, 1), nn.Conv2d(4, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.erf(self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))))


class Branches(nn.Module):
    """A block with an operator between two convolutions of one of its branches that nobody serves."""

    def __init__(self) -> None:
        super().__init__()
        self.a = BasicConv2d(CHANNELS, 6, kernel_size=1)
        self.b = nn.ModuleList([BasicConv2d(CHANNELS, 6, kernel_size=1), BasicConv2d(6, 6, kernel_size=3, padding=1)])
        self.c = BasicConv2d(CHANNELS, 8, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.a(x), self.b[1](torch.erf(self.b[0](x))), self.c(x)], 1)


def with_softplus(m: Parts, x: Tensor) -> Tensor:
    return F.softplus(m.logits(m.trunk(x)))


def with_labels(m: Parts, x: Tensor) -> dict[str, Tensor]:
    logits = m.logits(m.trunk(x))
    return {"labels": torch.special.ndtr(logits), "logits": logits}


def with_gate(m: Parts, x: Tensor) -> Tensor:
    return m.logits(m.block(m.gate(m.trunk(x))))


def with_instance_norm(m: Parts, x: Tensor) -> Tensor:
    return m.logits(m.block(F.instance_norm(m.trunk(x))))


def with_attention(m: Parts, x: Tensor) -> Tensor:
    return m.fc(m.head(m.trunk(x)))


def channels_last_bytes(m: Parts, x: Tensor) -> Tensor:
    return m.logits(m.trunk((255 - x).permute(0, 3, 1, 2).flip(1).to(m.fc.weight.dtype) / 127.5 - 1))


def with_metadata(m: Parts, x: Tensor, meta: Tensor) -> Tensor:
    return m.mix(torch.cat([m.logits(m.trunk(x)), meta], 1))


def frames(m: Parts, clip: Tensor) -> Tensor:
    """``[N, T, 3, H, W]``; the mean over T."""
    n, t = clip.shape[:2]
    return m.logits(m.trunk(clip.flatten(0, 1))).view(n, t, -1).mean(1)


def one_image(m: Parts, image: Tensor) -> Tensor:
    return m.logits(m.trunk(image.unsqueeze(0))).squeeze(0).softmax(0)


def listed(m: Parts, images: list[Tensor], *, scale: float = 1.0) -> list[Tensor]:
    return list(m.logits(m.trunk(torch.stack(images) * scale)).softmax(1))


def nested(m: Parts, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Any]]:
    maps = m.trunk(batch["image"])
    return m.logits(maps).softmax(-1), {
        "maps": maps,
        "mask": batch["mask"] & True,
        "count": maps.shape[0],
        "none": None,
    }


def two_outside_users(m: Parts, x: Tensor) -> tuple[Tensor, Tensor]:
    maps = torch.erf(m.trunk(x))
    inner = m.block(maps)
    return torch.erf(inner) + maps, F.softplus(inner)


def between_branches(m: Parts, x: Tensor) -> Tensor:
    return m.logits(m.block(m.branches(m.trunk(x))))


def in_a_row(m: Parts, x: Tensor) -> Tensor:
    y = F.softplus(m.trunk(x))
    y = torch.erf(m.block(y))
    return m.logits(m.again(y)).log_softmax(1)


def ranked(m: Parts, x: Tensor) -> dict[str, Any]:
    """Results of PyTorch's own named kinds."""
    logits = m.logits(m.trunk(x))
    return {"top": logits.topk(3), "best": logits.max(1), "label": logits.argmax(1)}


def counted_by_values(m: Parts, x: Tensor) -> tuple[Tensor, ...]:
    """As many results as values are large."""
    maps = m.trunk(x)
    logits = m.logits(maps)
    large = logits > logits.mean()
    return logits[large].sqrt().nan_to_num(3.0), torch.nonzero(large), maps[maps > 0].sum()


def several_uses(m: Parts, x: Tensor) -> tuple[Tensor, ...]:
    """The input itself, its halves, a padded and a normalised map: pieces of patterns that leave an engine."""
    maps = m.trunk(x)
    left, right = maps.split([8, 12], 1)
    return x, torch.erf(left), right, torch.erf(F.pad(maps, (1, 1, 0, 0))), maps.flatten(2), F.normalize(maps).exp()


def images(n: int = 2, channels: int = 3, seed: int = 1) -> Tensor:
    return torch.randn(n, channels, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def picture_bytes(n: int = 2) -> Tensor:
    return torch.randint(0, 256, (n, SIZE, SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))


def vectors(n: int = 2) -> Tensor:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(n))


Arguments = Callable[[int], tuple[Any, ...]]

MODELS: dict[str, tuple[Callable[..., Any], dict[str, Callable[[], nn.Module]], Arguments, int, bool]] = {
    "softplus head": (with_softplus, {}, lambda n: (images(n),), 1, True),
    "multi-label head": (with_labels, {}, lambda n: (images(n),), 1, True),
    "gate of nobody": (with_gate, {"gate": Gate}, lambda n: (images(n),), 2, True),
    "instance norm": (with_instance_norm, {}, lambda n: (images(n),), 2, True),
    "attention": (with_attention, {"head": Attention}, lambda n: (images(n),), 1, True),
    "inverted bytes, NHWC, BGR": (channels_last_bytes, {}, lambda n: (picture_bytes(n),), 1, True),
    "metadata": (with_metadata, {"mix": lambda: nn.Linear(11, 5)}, lambda n: (images(n), vectors(n)), 1, True),
    "video": (frames, {}, lambda n: (images(3 * n).view(n, 3, 3, SIZE, SIZE),), 1, True),
    "no batch": (one_image, {}, lambda n: (images(1)[0],), 1, False),
    "list": (listed, {}, lambda n: (list(images(2)),), 1, False),
    "dict": (nested, {}, lambda n: ({"image": images(n), "mask": vectors(n) > 0},), 1, True),
    "two outside users": (two_outside_users, {}, lambda n: (images(n),), 2, True),
    "between branches": (between_branches, {"branches": Branches}, lambda n: (images(n),), 2, True),
    "several in a row": (
        in_a_row,
        {"again": lambda: Inception(CHANNELS, 4, 6, 8, 2, 4, 4)},
        lambda n: (images(n),),
        3,
        True,
    ),
    "ranks": (ranked, {}, lambda n: (images(n),), 1, True),
    "counted by values": (counted_by_values, {}, lambda n: (images(n),), 1, True),
    "pieces of patterns": (several_uses, {}, lambda n: (images(n),), 1, True),
}
"""Name -> forward, members, arguments for a batch, islands, whether any batch will do."""


def model(name: str) -> Parts:
    forward, members, *_ = MODELS[name]
    return lively(Parts(forward, **{key: make() for key, make in members.items()}))
