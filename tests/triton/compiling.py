"""Compiles what a launch would run, for any GPU and without one: the launch's own arguments, recorded.

The interpreter and the compiler cannot share a process, so programs that use this print one JSON object a line.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

POINTERS = {
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.int32: "*i32",
    torch.uint8: "*u8",
}
DIVISIBLE = [["tt.divisibility", 16]]


@dataclass(frozen=True)
class Compiled:
    """What a GPU would load.

    Attributes:
        wide_loads: asynchronous copies of 16 bytes to shared memory.
    """

    name: str
    arch: int
    shared: int
    registers: int
    stack: int
    wgmma: int
    mma: int
    wide_loads: int


@contextmanager
def recorded(module: ModuleType, name: str) -> Iterator[list[tuple[tuple[Any, ...], dict[str, Any]]]]:
    """The arguments of each launch of a module's kernel, which is not run."""
    launches: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    class Recorder:
        def __getitem__(self, grid: object) -> Callable[..., None]:
            return lambda *args, **kwargs: launches.append((args, kwargs))

    kernel = getattr(module, name)
    setattr(module, name, Recorder())
    try:
        yield launches
    finally:
        setattr(module, name, kernel)


def compile_launch(kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any], arch: int) -> Compiled:
    """Compiles a recorded launch for ``sm_<arch>``, specialised as Triton's own launcher does."""
    options = {k: v for k, v in kwargs.items() if k.startswith("num_")}
    named = dict(zip(kernel.arg_names, args, strict=False)) | {k: v for k, v in kwargs.items() if k not in options}
    constants = {p.name for p in kernel.params if p.is_constexpr}
    signature: dict[str, Any] = {}
    constexprs: dict[Any, Any] = {}
    attributes: dict[tuple[int, ...], Any] = {}

    def specialise(value: Any, path: tuple[int, ...], name: str) -> Any:
        if isinstance(value, tuple) and name not in constants:
            return tuple(specialise(v, (*path, i), name) for i, v in enumerate(value))
        if name in constants or value is None or (isinstance(value, int) and value == 1):
            constexprs[path] = value
            return "constexpr"
        address = value.data_ptr() if isinstance(value, torch.Tensor) else value
        if isinstance(address, int) and address % 16 == 0:
            attributes[path] = DIVISIBLE
        if isinstance(value, torch.Tensor):
            return POINTERS[value.dtype]
        return "fp32" if isinstance(value, float) else "i32"

    for index, name in enumerate(kernel.arg_names):
        signature[name] = specialise(named[name], (index,), name)
    source = ASTSource(kernel, signature, constexprs, attributes)
    built = triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)
    ptx = built.asm["ptx"]
    registers, stack = resources(built.asm["cubin"])
    return Compiled(
        kernel.__name__,
        arch,
        built.metadata.shared,
        registers,
        stack,
        len(re.findall(r"wgmma\.mma_async|tcgen05\.mma", ptx)),
        ptx.count("mma.sync"),
        len(re.findall(r"cp\.async\.cg[^;]*, 0x10", ptx)),
    )


def resources(cubin: bytes) -> tuple[int, int]:
    """Registers and bytes of stack (spills among them) of a thread."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run([tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True)
    found = re.search(r"REG:(\d+) STACK:(\d+)", text.stdout)
    assert found, text.stdout
    return int(found[1]), int(found[2])


def write(label: str, config: object, compiled: Compiled) -> None:
    print(json.dumps({"label": label, "config": config and vars(config), **asdict(compiled)}), flush=True)
