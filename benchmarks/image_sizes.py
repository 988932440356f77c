"""What each further image size of one network costs. ``python -m benchmarks.image_sizes 299 320 224``.

torchvision's Inception-v3 by ``optimize(..., sizes="any")``, on the ``cpu`` backend and one thread. Seconds are of the
processor. The memory of the process is what remains once the allocator has given back all it can; some 4 MiB a size of
it are what PyTorch's export keeps.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torchvision.models import inception_v3

import inception_fast as ifast
from inception_fast.cli.table import render_table
from inception_fast.many_sizes import ManySizes

MIB = 2**20


class Cost(NamedTuple):
    """Of one size.

    Attributes:
        seconds: of the processor.
        counted: bytes, as the network counts its engines'.
        resident: bytes of the process.
    """

    size: int
    seconds: float
    counted: float
    resident: float


def resident() -> float:
    """Bytes of this process in memory."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    line = next(x for x in Path("/proc/self/smaps_rollup").read_text().splitlines() if x.startswith("Rss"))
    return int(line.split()[1]) * 1024


def costs(network: nn.Module, sizes: Sequence[int]) -> Iterator[Cost]:
    """Of square images of three channels; the first cost is that of a network that has none yet."""
    fast = None
    for size in sizes:
        images = torch.zeros(1, 3, size, size)
        held, counted, start = resident(), 0 if fast is None else fast.memory, time.process_time()
        if fast is None:
            fast = ifast.optimize(network, images, backend="cpu", sizes="any")
            assert isinstance(fast, ManySizes)
        else:
            fast.engine_for(images)
        seconds = time.process_time() - start
        yield Cost(size, seconds, fast.memory - counted, resident() - held)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=[299, 320, 331, 224, 256], help="default: %(default)s")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = inception_v3(weights=None, init_weights=False).eval()
    # It returns something else besides, in training.
    network.AuxLogits = None
    table = [
        [f"{c.size}x{c.size}", f"{c.seconds:.1f}", f"{c.counted / MIB:.1f}", f"{c.resident / MIB:.0f}"]
        for c in costs(network, args.sizes)
    ]
    print(render_table(["images", "seconds", "MiB counted", "MiB of the process"], table))


if __name__ == "__main__":
    main()
