"""One forward pass for a profiler to look at: ``python -m benchmarks.gpu.forward ENGINE``, on the ``cuda`` backend.

It is launch by launch, without a CUDA graph, and the only one: the profiler finds a launch by its number.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from inception_fast.backends.cuda import CudaExecutor, chosen_driver
from inception_fast.backends.cuda_graph import with_index
from inception_fast.plan.engine_file import read_engine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, default=1)
    args = parser.parse_args()
    engine = read_engine(args.engine)
    device = torch.device(args.device)
    device = with_index(device) if device.type == "cuda" else device
    dtype = getattr(torch, engine.plan.io_dtype)
    x = torch.randn(args.batch, *engine.metadata.input_shape).to(device, dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    executor = CudaExecutor(engine.plan, engine.constants, device, engine.metadata.precision, chosen_driver())
    executor.run(x)
    if x.is_cuda:
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
