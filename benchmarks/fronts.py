"""What bytes in front and a softmax behind cost: ``python -m benchmarks.fronts [ROUNDS]``.

Inception-v3 at 299x299 on one CPU thread, batch 1. A round is one call of each in turn, so that what else the machine
does falls on both; the figure is the median over the rounds of the ratio within a round.
"""

from __future__ import annotations

import sys
from statistics import median
from time import perf_counter

import torch
from torch import Tensor, nn

import inception_fast as ifast
from inception_fast.models import create_model


class Served(nn.Module):
    """A network as it is served: bytes in, probabilities out."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.network((x.float() / 255 - self.mean) / self.std).softmax(1)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    torch.set_num_threads(1)
    network = create_model("inception_v3").eval()
    images = torch.randint(0, 256, (1, 3, 299, 299), dtype=torch.uint8)
    for precision in ("fp32", "bf16"):
        calls = [
            (
                ifast.optimize(network, torch.randn(1, 3, 299, 299), precision=precision, accuracy="fast"),
                images.float(),
            ),
            (ifast.optimize(Served(network).eval(), images, precision=precision, accuracy="fast", strict=True), images),
        ]
        times: list[list[float]] = []
        for _ in range(rounds + 3):
            took = []
            for fast, x in calls:
                begin = perf_counter()
                fast(x)
                took.append(perf_counter() - begin)
            times.append(took)
        bare, served = (sorted(t[i] for t in times[3:]) for i in (0, 1))
        ratio = median(b / a for a, b in times[3:])
        print(
            f"{precision}: bare {1e3 * median(bare):.1f} ms, served {1e3 * median(served):.1f} ms, ratio {ratio:.3f}; "
            f"of the fastest {served[0] / bare[0]:.3f} ({1e3 * bare[0]:.1f} ms, {1e3 * served[0]:.1f} ms)"
        )


if __name__ == "__main__":
    main()
