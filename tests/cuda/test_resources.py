"""What nvcc makes of each kernel: registers, spills, and the instructions that were meant."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from inception_fast._build_info import build_info
from inception_fast.backends.cuda import native
from tests.cuda.sass import Instruction, Loop, functions, innermost_loops

SOURCES = Path(__file__).parents[2] / "csrc"
ARCHITECTURES = ("80", "86", "89", "90a", "100a", "120")
"""All that the sources are for."""
BUILT = [name.split("-")[0] for name in build_info().cuda_architectures] or ["80", "90a"]
"""Those of this installation, or the default ones of CMakeLists.txt."""
CLUSTERS = {"90a", "100a", "120"}
VECTOR_LOOPS = {"stage_kernel": 2, "throughput_kernel": 3, "network_kernel": 2, "pair_kernel": 3}
"""Loops over K out of sources of whole vectors, by kernel: one a tile shape, and one for the first of a pair."""
FEWER = {"stage_kernel": 2, "network_kernel": 1, "pair_kernel": 3}
"""Those of fp32."""
PRODUCTS = {
    "fp32": "HMMA.1688.F32.TF32",
    "tf32": "HMMA.1688.F32.TF32",
    "fp16": "HMMA.16816.F32",
    "bf16": "HMMA.16816.F32.BF16",
}
BLOCKS = {"fp32": 2, "tf32": 3, "fp16": 3, "bf16": 3}
"""That must fit on a multiprocessor at least, by precision; of the throughput kernel two."""
THREADS, REGISTERS = 128, 65536


def loops_of(precision: str) -> dict[str, int]:
    return FEWER if precision == "fp32" else VECTOR_LOOPS


def find_tool(name: str) -> str | None:
    """From the CUDA toolkit, else the copy that comes with Triton."""
    folders = [os.path.dirname(os.environ.get("CUDACXX", "")), *os.environ.get("PATH", "").split(os.pathsep)]
    folders.append("/usr/local/cuda/bin")
    triton = importlib.util.find_spec("triton")
    if triton is not None and triton.origin is not None:
        folders.append(str(Path(triton.origin).parent / "backends" / "nvidia" / "bin"))
    return shutil.which(name, path=os.pathsep.join(filter(None, folders)))


@dataclass(frozen=True)
class Report:
    """Of one precision's kernels on one architecture: ptxas's words, and each kernel's machine code."""

    ptxas: str
    code: dict[str, list[Instruction]]


@cache
def compiled(source: str, architecture: str) -> Report:
    nvcc, cuobjdump = find_tool("nvcc"), find_tool("cuobjdump")
    if nvcc is None or cuobjdump is None:
        pytest.skip(f"needs {'nvcc' if nvcc is None else 'cuobjdump'}")
    includes = [f"-I{SOURCES}", f"-I{SOURCES / 'cuda'}"]
    with tempfile.TemporaryDirectory() as folder:
        cubin = str(Path(folder, "kernel.cubin"))
        options = ["-std=c++20", "-O3", f"-arch=sm_{architecture}", "-Xptxas", "-v", *includes]
        command = [nvcc, *options, "-cubin", "-o", cubin, str(SOURCES / "cuda" / "launch" / source)]
        ptxas = subprocess.run(command, check=True, capture_output=True, text=True).stderr
        listing = subprocess.run([cuobjdump, "-sass", cubin], check=True, capture_output=True, text=True).stdout
    code = {next(k for k in VECTOR_LOOPS if k in name): body for name, body in functions(listing).items()}
    return Report(ptxas, code)


@pytest.fixture(params=[pytest.param(a, marks=() if a in BUILT else pytest.mark.slow) for a in ARCHITECTURES])
def architecture(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("precision", PRODUCTS)
def test_kernels(precision: str, architecture: str) -> None:
    report = compiled(f"drivers_{precision}.cu", architecture)
    instructions = Counter(i.name for code in report.code.values() for i in code)
    entries = re.findall(rf"Compiling entry function '\w*?({'|'.join(VECTOR_LOOPS)})\w*'", report.ptxas)
    kernels = loops_of(precision)
    assert sorted(entries) == sorted(kernels)
    spills = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", report.ptxas)
    assert spills == [("0", "0", "0")] * len(kernels)
    registers = re.findall(r"Used (\d+) registers", report.ptxas)
    for kernel, used in zip(entries, map(int, registers), strict=True):
        blocks = 2 if kernel == "throughput_kernel" else BLOCKS[precision]
        assert used * THREADS * blocks <= REGISTERS, kernel
    assert "bytes smem" not in report.ptxas, "all shared memory is the launch's"
    for name in (PRODUCTS[precision], "LDSM.16.M88.4", "LDGSTS.E.BYPASS.128", "LDG.E.128", "STG.E.128"):
        assert instructions[name] > 0, f"no {name} in {sorted(instructions)}"
    assert not [name for name in instructions if name.startswith(("LDL", "STL"))], "local memory"
    # griddepcontrol.wait and barrier.cluster.
    for name in ("ACQBULK", "UCGABAR_ARV", "UCGABAR_WAIT"):
        assert (instructions[name] > 0) == (architecture in CLUSTERS), name


def is_from_vectors(loop: Loop) -> bool:
    """Whether the loop is one over chunks of K that VectorLoader fills: there are no copies but whole vectors."""
    copies = [i.name for i in loop if i.name.startswith("LDGSTS")]
    return loop.count("HMMA") > 0 and bool(copies) and all(name.endswith(".128") for name in copies)


def modelled(precision: str) -> dict[int, float]:
    """The time model's instructions of a loop by how many of them are products."""
    codes = native(emulate=True).tile_codes(precision)
    depth = codes[0].chunk_bytes // 32
    return {c.unit_rows // 16 * c.unit_columns // 8 * depth * c.products: c.instructions for c in codes}


@pytest.mark.parametrize("precision", PRODUCTS)
def test_loops(precision: str, architecture: str) -> None:
    """No loads over chunks of K but the tile's own, nothing that belongs before the loop, and few instructions; polls
    that leave the cache alone.
    """
    report = compiled(f"drivers_{precision}.cu", architecture)
    for kernel, code in report.code.items():
        loops = innermost_loops(code)
        products = [loop for loop in loops if is_from_vectors(loop)]
        assert len(products) == loops_of(precision)[kernel], kernel
        for loop in products:
            assert loop.count("LDG", "LD", "LDC", "S2R", "S2UR", "LDL", "STL", "STS") == 0, kernel
            assert len(loop) <= 8 * loop.count("HMMA"), f"{kernel}: {len(loop)} for {loop.count('HMMA')} HMMA"
            if architecture == "90a":
                assert len(loop) == pytest.approx(modelled(precision)[loop.count("HMMA")], rel=0.05), kernel
        for loop in loops:
            if loop.count("HMMA") > 0:
                assert loop.count("S2R", "LDL", "STL") == 0, kernel
            if loop.count("NANOSLEEP") > 0:
                assert loop.count("CCTL", "MEMBAR") == 0, kernel
    polls = [loop for loop in innermost_loops(report.code["network_kernel"]) if loop.count("NANOSLEEP") > 0]
    assert polls and all(loop.count("LDG", "LD") == 1 for loop in polls)
