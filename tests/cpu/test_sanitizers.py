"""The executor under ThreadSanitizer, and under AddressSanitizer with UndefinedBehaviorSanitizer.

Compiled from source with the portable kernels, which share everything but their vectors with the others. Outputs and
weights of the other instruction sets are guarded by ``test_exact.py``.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from inception_fast.plan.engine_file import EngineFile, Metadata, write_engine
from tests.backends.cases import CASES
from tests.backends.harness import lowered

ROOT = Path(__file__).resolve().parents[2]
NETWORKS = ["merged_siblings", "factorized_pairs", "pools_in_concat", "conv_7x7_stem", "conv_3x3_wide", "resize"]
COMPILER = os.environ.get("CXX", "c++")


def supports(flag: str, folder: Path) -> bool:
    source = folder / "empty.cpp"
    source.write_text("int main() {}\n")
    command = [COMPILER, flag, str(source), "-o", str(folder / "empty")]
    try:
        compiled = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False
    return compiled and subprocess.run([folder / "empty"]).returncode == 0


def write_engines(folder: Path) -> list[Path]:
    paths = []
    for name in NETWORKS:
        plan, constants = lowered(CASES[name](), "fp32")
        image = plan.buffers[plan.input]
        shape = (image.channels, image.height, image.width)
        paths.append(folder / f"{name}.ifast")
        write_engine(paths[-1], EngineFile(plan, constants, Metadata("fp32", False, shape, "float32", {})))
    return paths


@pytest.mark.slow
@pytest.mark.parametrize("sanitizers", ["thread", "address,undefined"])
def test_concurrent_runs(sanitizers: str, tmp_path: Path) -> None:
    flag = f"-fsanitize={sanitizers}"
    if not supports(flag, tmp_path):
        pytest.skip(f"{COMPILER} has no {flag} here")
    sources = [p for room in ("plan", "cpu") for p in (ROOT / "csrc" / room).glob("*.cpp") if "_avx" not in p.name]
    program = tmp_path / "concurrent_runs"
    options = [
        "-std=c++20",
        "-O1",
        "-g1",
        "-w",
        "-pthread",
        "-fno-sanitize-recover=all",
        flag,
        "-I",
        str(ROOT / "csrc"),
    ]
    driver = Path(__file__).with_name("concurrent_runs.cpp")
    subprocess.run([COMPILER, *options, str(driver), *map(str, sources), "-o", str(program)], check=True)
    result = subprocess.run([program, *write_engines(tmp_path)], capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr[-4000:]
