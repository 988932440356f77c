"""What people put in front of a network: bytes, images whose channels are last, colours in another order, margins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def _planes(vector: Tensor) -> Tensor:
    return vector.view(3, 1, 1)


@dataclass(frozen=True)
class Front:
    """
    Attributes:
        function: from the caller's images to normalised ones ``[N, C, H, W]``.
        last: takes ``[N, H, W, C]``.
        bytes: takes uint8.
    """

    function: Callable[[Tensor], Tensor]
    last: bool = False
    bytes: bool = True

    def images(self, batch: int, height: int = 19, width: int = 23) -> Tensor:
        shape = (batch, height, width, 3) if self.last else (batch, 3, height, width)
        x = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(batch))
        return x if self.bytes else x / 64


FRONTS = {
    "numbers": Front(lambda x: x.float()),
    "divided": Front(lambda x: x / 255),
    "scaled by a number": Front(lambda x: x.to(torch.float32) * 2 - 1),
    "normalised": Front(lambda x: (x.float() / 255 - _planes(MEAN)) / _planes(STD)),
    "centred": Front(lambda x: (x.float() - 127.5) / 127.5),
    "in double": Front(lambda x: (x.double() / 255).float()),
    "another order": Front(lambda x: x[:, [2, 1, 0]].float() / 255),
    "grey": Front(lambda x: ((x[:, :1] / 255).float()[:, [0, 0, 0]] - _planes(MEAN)) / _planes(STD)),
    "channels last": Front(lambda x: ((x.float() / 255 - MEAN) / STD).permute(0, 3, 1, 2), last=True),
    "channels last, turned at once": Front(lambda x: x.permute(0, 3, 1, 2).contiguous() / 255, last=True),
    "channels last, by movedim": Front(lambda x: x[..., [2, 1, 0]].movedim(-1, 1).float() / 255, last=True),
    "channels last, by transpositions": Front(
        lambda x: (x.flip(-1).transpose(1, 3).transpose(2, 3) / 255 - _planes(MEAN)) / _planes(STD), last=True
    ),
    "channels last, of numbers": Front(lambda x: (x - MEAN).permute(0, 3, 1, 2) * 0.5, last=True, bytes=False),
    "margins": Front(lambda x: F.pad((x / 255 - _planes(MEAN)) / _planes(STD), (1, 2, 3, 0), value=0.5)),
    "margins of numbers": Front(lambda x: F.pad(x - 1, (0, 3, 1, 1), value=-2.0), bytes=False),
}


class Network(nn.Module):
    """Two convolutions, the first with zeros around the image, and a classifier behind a front."""

    def __init__(self, front: Front, padding: int = 1) -> None:
        super().__init__()
        self.front = front.function
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, padding), nn.ReLU(), nn.Conv2d(16, 24, 3, 1, 1), nn.ReLU())
        self.fc = nn.Linear(24, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.stem(self.front(x).to(self.fc.weight.dtype)).mean((2, 3)))


def network(front: Front, padding: int = 1) -> Network:
    """In eval mode; the same each time."""
    torch.manual_seed(0)
    return Network(front, padding).eval()
