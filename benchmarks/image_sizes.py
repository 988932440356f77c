"""What each further image size of one module costs. ``python -m benchmarks.image_sizes 299 320 224``.

torchvision's Inception-v3 behind ``swap``, on the ``cpu`` backend and one thread. Seconds are of the processor. The
memory of the process is what remains once the allocator has given back all it can; some 4 MiB a size of it are what
PyTorch's export keeps.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import time
import warnings
from pathlib import Path

import torch
from torch import nn
from torchvision.models import inception_v3

import inception_fast as ifast
from inception_fast.cli.table import render_table

MIB = 2**20


def resident() -> float:
    """Bytes of this process in memory."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    line = next(x for x in Path("/proc/self/smaps_rollup").read_text().splitlines() if x.startswith("Rss"))
    return int(line.split()[1]) * 1024


def main() -> None:
    sizes = [int(size) for size in sys.argv[1:]] or [299, 320, 331, 224, 256]
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = inception_v3(weights=None, init_weights=False).eval()
    # It returns something else besides, in training.
    network.AuxLogits = None
    model = nn.Sequential(network).eval()
    rows = []
    for size in sizes:
        images = torch.zeros(1, 3, size, size)
        held, counted, start = resident(), getattr(model[0], "memory", 0), time.process_time()
        if isinstance(model[0], ifast.nn.InceptionBlock):
            assert model[0].engine_for(images) is not None
        else:
            ifast.swap(model, images, backend="cpu")
        seconds = time.process_time() - start
        rows.append((f"{size}x{size}", f"{seconds:.1f}", (model[0].memory - counted) / MIB, (resident() - held) / MIB))
    table = [[name, s, f"{counted:.1f}", f"{held:.0f}"] for name, s, counted, held in rows]
    print(render_table(["images", "seconds", "MiB counted", "MiB of the process"], table))


if __name__ == "__main__":
    main()
