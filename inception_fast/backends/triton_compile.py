"""One of the processes of :func:`inception_fast.tuning.precompile.precompile`.

Runs forward passes on memory that is never touched, on a driver that launches nothing, and lets Triton compile what no
other process has claimed. Argument: the folder with the job.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from subprocess import SubprocessError
from types import SimpleNamespace
from typing import Any

import torch

ABUNDANT = 2**30


class AbsentDriver:
    """As much of a Triton driver as a launch asks for, of a GPU that is not here.

    Args:
        arch: compute capability, 90 for 9.0.
    """

    def __init__(self, arch: int) -> None:
        from triton.backends.compiler import GPUTarget

        self._target = GPUTarget("cuda", arch, 32)
        self.launcher_cls = build_launcher
        self.utils = SimpleNamespace(
            get_device_properties=lambda device: {"max_shared_mem": ABUNDANT},
            load_binary=lambda *_: (None, None, 0, 0, ABUNDANT),
            unload_module=lambda module: None,
        )

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> Any:
        return self._target


def build_launcher(source: Any, metadata: Any) -> Callable[..., None]:
    """Has older Tritons, where a launcher is a C module of the kernel's own, compile it, and launches nothing."""
    from triton.backends.nvidia import driver

    if hasattr(driver, "make_launcher"):
        # It is linked with the driver's library, which a machine without a GPU does not have.
        with suppress(AssertionError, ImportError, OSError, RuntimeError, SubprocessError):
            driver.CudaLauncher(source, metadata)
    return lambda *arguments: None


def claiming(folder: Path) -> Callable[..., bool]:
    """A hook that lets Triton compile a kernel where no process has done it before."""

    def hook(*, key: object, fn: Any, **_: object) -> bool:
        name = hashlib.sha256(f"{fn.name} {key}".encode()).hexdigest()
        try:
            os.close(os.open(folder / name, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return True
        return False

    return hook


def run_passes(folder: Path) -> None:
    """The passes of a job, for batch size after batch size."""
    from inception_fast.backends.triton_executor import TritonExecutor
    from inception_fast.plan.serialize import plan_from_json
    from inception_fast.tuning.choice import ConfigChoice
    from inception_fast.tuning.cost import Limits
    from inception_fast.tuning.table import read_table

    job = json.loads((folder / "job.json").read_text())
    plan, table = plan_from_json((folder / "plan.json").read_bytes()), read_table(folder / "table.json")
    assert table is not None
    choose = ConfigChoice(Limits(**job["limits"]), table.entries, job["batch_invariant"])
    constants = {
        name: torch.empty(c.shape, dtype=getattr(torch, c.dtype), device="cpu") for name, c in plan.constants.items()
    }
    executor = TritonExecutor(
        plan, constants, torch.device("cpu"), job["precision"], job["batch_invariant"], choose=choose
    )
    image, dtype = plan.buffers[plan.input], getattr(torch, plan.input_dtype)
    for images in job["batches"]:
        shape = (images, image.channels, image.height, image.width)
        executor.run(torch.empty(shape, dtype=dtype, device="cpu", memory_format=torch.channels_last))


def main() -> None:
    from triton import knobs
    from triton.runtime.driver import driver

    folder = Path(sys.argv[1])
    driver.set_active(AbsentDriver(json.loads((folder / "job.json").read_text())["arch"]))
    knobs.runtime.jit_cache_hook = claiming(folder / "claims")
    run_passes(folder)


if __name__ == "__main__":
    main()
