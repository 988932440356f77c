"""The ``cpu`` backend's Winograd tiles: what they save and what they cost. ``python -m benchmarks.winograd_error``.

One convolution of uniform weights, 128 to 64 channels, reads three 24x24 images of rectified normal numbers. The error
is the relative L2 distance to float64 convolution of the same operands; in bfloat16 it includes the rounding of the
result. Multiplications are those of the products over direct convolution's, for whole tiles.
"""

from __future__ import annotations

import re

import torch
from torch import nn

from inception_fast.backends import get_backend
from inception_fast.backends.cpu import CpuExecutor
from inception_fast.cli.table import render_table
from inception_fast.graph.capture import capture
from inception_fast.graph.passes import optimize_graph
from inception_fast.lowering.lower import lower

CHANNELS, SIZE, BATCH = (128, 64), 24, 3
DIRECT = "direct"
TILES = {
    (1, 3): (DIRECT, "F(4, 3) horizontal", "F(6, 3) horizontal"),
    (1, 7): (DIRECT, "F(3, 4) horizontal", "F(4, 3) horizontal", "F(3, 7) horizontal"),
    (3, 3): (DIRECT, "F(4, 3) horizontal", "F(2x2, 3x3)", "F(4x4, 3x3)", "F(6x6, 3x3)"),
    (5, 5): (DIRECT, "F(6x6, 3x3)", "F(4x4, 5x5)"),
}
DOT = ", bfloat16 dot products"


def multiplications(algorithm: str, kernel: tuple[int, int]) -> float:
    """Of a tile over those of direct convolution."""
    found = re.match(r"F\((\d+)(x\d+)?, (\d+)", algorithm)
    if found is None:
        return 1.0
    outputs, taps = int(found[1]), int(found[3])
    ratio = 1.0
    # A tile of one dimension leaves the kernel's other axis as it is.
    for extent in kernel if found[2] else kernel[1:]:
        groups = -(-extent // taps)
        ratio *= groups * (outputs + taps - 1) / (outputs * extent)
    return ratio


def error(algorithm: str, kernel: tuple[int, int], dtype: torch.dtype) -> float | None:
    """Relative L2; None where this processor or build has no such algorithm."""
    torch.manual_seed(0)
    padding = kernel[0] // 2, kernel[1] // 2
    # The ReLU gives the convolution an input of the arena: one that reads the caller's own is always direct.
    model = nn.Sequential(nn.ReLU(), nn.Conv2d(*CHANNELS, kernel, padding=padding, bias=False)).to(dtype)
    x = torch.randn(BATCH, CHANNELS[0], SIZE, SIZE).to(dtype)
    graph, _ = optimize_graph(capture(model.eval(), x).graph, get_backend("cpu").lowering)
    plan, constants = lower(graph, str(dtype).removeprefix("torch."))
    executor = CpuExecutor(plan, constants, algorithm=algorithm)
    if executor.report()[-1].algorithm != algorithm:
        return None
    with torch.no_grad():
        truth = model.double()(x.double())
    return float((executor.run(x)[0].double() - truth).norm() / truth.norm())


def rows() -> list[tuple[str, ...]]:
    """Kernel, products, algorithm, multiplications, error."""
    found = []
    for kernel, algorithms in TILES.items():
        for dtype in (torch.float32, torch.bfloat16):
            for algorithm in algorithms:
                value = error(algorithm + (DOT if dtype == torch.bfloat16 else ""), kernel, dtype)
                if value is not None:
                    share = multiplications(algorithm, kernel)
                    products = str(dtype).removeprefix("torch.")
                    row = (f"{kernel[0]}x{kernel[1]}", products, algorithm, f"{share:.2f}", f"{value:.1e}")
                    found.append(row)
    return found


if __name__ == "__main__":
    print(render_table(("kernel", "products", "algorithm", "multiplications", "relative L2 error"), rows()))
