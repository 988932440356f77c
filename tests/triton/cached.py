"""Prints what Triton's launcher finds in its cache, for an sm_90 that is not here: hits and misses by batch size.

Arguments: batch sizes.
"""

from __future__ import annotations

import json
import sys
from collections import Counter

import torch
from triton import knobs
from triton.runtime.driver import driver

from inception_fast.backends.triton_compile import AbsentDriver
from inception_fast.backends.triton_executor import TritonExecutor
from inception_fast.lowering.lower import lower
from inception_fast.tuning.choice import ConfigChoice
from inception_fast.tuning.cost import H200
from tests.triton.blocks import block


def main() -> None:
    driver.set_active(AbsentDriver(90))
    plan, constants = lower(block(), "float16")
    run = TritonExecutor(plan, constants, torch.device("cpu"), "fp16", choose=ConfigChoice(H200, {}))
    for images in map(int, sys.argv[1:]):
        found: Counter[str] = Counter()
        knobs.compilation.listener = lambda *, cache_hit, found=found, **_: found.update(
            ["hits" if cache_hit else "misses"]
        )
        run.run(torch.empty(images, 3, 11, 13, dtype=torch.float16, memory_format=torch.channels_last))
        print(json.dumps({"images": images, "hits": found["hits"], "misses": found["misses"]}), flush=True)


if __name__ == "__main__":
    main()
