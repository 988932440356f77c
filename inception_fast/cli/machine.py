"""What this machine is: its processor, the cores that this process may use, its GPUs."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from inception_fast._driver import nvidia_driver as nvidia_driver

CPUINFO = Path("/proc/cpuinfo")

# As the Linux kernel spells them; only those that a kernel of this package could use.
INSTRUCTION_SETS = (
    "avx2",
    "fma",
    "f16c",
    "avx_vnni",
    "avx512f",
    "avx512dq",
    "avx512bw",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
)


def _cpuinfo(field: str) -> str | None:
    if not CPUINFO.exists():
        return None
    match = re.search(rf"^{field}\s*:\s*(.*)$", CPUINFO.read_text(), re.MULTILINE)
    return match and match[1].strip()


def cpu_model() -> str:
    """The processor's name, or its architecture where the system does not say."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def instruction_sets() -> tuple[str, ...] | None:
    """Which of :data:`INSTRUCTION_SETS` this processor has; ``None`` where the system does not say."""
    flags = _cpuinfo("flags")
    return None if flags is None else tuple(name for name in INSTRUCTION_SETS if name in flags.split())


def usable_cores() -> int:
    """Logical cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_quota(cpu_max: Path = Path("/sys/fs/cgroup/cpu.max")) -> float | None:
    """Cores' worth of time that a container's cgroup (v2) grants; ``None`` for no limit."""
    if not cpu_max.exists():
        return None
    quota, period = cpu_max.read_text().split()
    return None if quota == "max" else int(quota) / int(period)


def gpus() -> list[str]:
    """Name, compute capability and memory of every CUDA device that PyTorch sees."""
    import torch

    if not torch.cuda.is_available():
        return []
    devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [f"{d.name}, sm_{d.major}{d.minor}, {d.total_memory / 2**30:.0f} GiB" for d in devices]
