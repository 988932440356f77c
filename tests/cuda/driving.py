"""Running a Plan on the CUDA kernels in the emulator, with memory that the test owns."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch

from inception_fast.backends.cuda import native
from inception_fast.plan.plan import Plan
from inception_fast.plan.serialize import plan_to_json

DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
"""Of storage, by precision."""


def emulator() -> ModuleType:
    return native(emulate=True)


class Emulated:
    """A Plan's executor, its constants converted to the Plan's dtypes, its arena filled with NaN at each call."""

    def __init__(
        self,
        plan: Plan,
        constants: dict[str, torch.Tensor],
        precision: str,
        driver: str = "stage",
        options: str = "",
    ) -> None:
        typed = {k: constants[k].to(getattr(torch, c.dtype)).contiguous() for k, c in plan.constants.items()}
        addresses = {k: (v.data_ptr(), v.nbytes) for k, v in typed.items()}
        self.native: Any = emulator().CudaExecutor(plan_to_json(plan), addresses, precision, driver, 0, options)

    def run(self, address: int, strides: tuple[int, ...], batch: int, outputs: list[int]) -> None:
        arena = torch.full((self.native.arena_bytes(batch) // 2,), float("nan"), dtype=torch.float16)
        counters = torch.zeros(self.native.counter_bytes(batch) // 4, dtype=torch.int32)
        self.native.run(address, strides, batch, arena.data_ptr(), counters.data_ptr(), outputs, 0)
        assert not counters.any()
