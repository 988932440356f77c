"""What the kernels compile to on sm_80, sm_90 and sm_100, without any of them: spills, shared memory, instructions."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")

ROOT = Path(__file__).parents[2]
ARCHS = "80,90,100"
SHARED_MEMORY = {80: 166912, 90: 232448, 100: 232448}
"""Bytes that one program can have: CUDA C++ Programming Guide, technical specifications per compute capability."""


TRADED = 16
"""Bytes of stack of a thread with which ptxas buys a step of registers less, for an epilogue of four destinations."""


def _compile(program: str, *arguments: str) -> list[dict[str, Any]]:
    """The lines that a program prints; it runs alone, because this process may be the interpreter's."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-m", f"tests.triton.{program}", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def _check_rule(found: list[dict[str, Any]]) -> None:
    assert {line["arch"] for line in found} == {80, 90, 100}
    for line in found:
        config, where = line["config"], f"{line['label']} {line['config']} sm_{line['arch']}"
        assert line["stack"] <= TRADED, f"{where}: registers spill"
        assert line["shared"] <= SHARED_MEMORY[line["arch"]], where
        matrix_unit = line["arch"] >= 90 and config["m"] >= 64
        assert (line["wgmma"] > 0, line["mma"] > 0) == (matrix_unit, not matrix_unit), where
        if not line["label"].startswith("first"):
            assert line["wide_loads"] > 0, f"{where}: no copy of 16 bytes"


def test_configurations_of_the_rule() -> None:
    """Some of them, convolutions and groups; :func:`test_a_third_of_the_rule` takes more."""
    _check_rule(_compile("compile_rule", ARCHS, "float16,bfloat16", "211"))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_third_of_the_rule(dtype: str) -> None:
    found = _compile("compile_rule", ARCHS, dtype, "3")
    assert len(found) > 60
    _check_rule(found)


@pytest.mark.parametrize(
    ("archs", "dtypes"),
    [
        pytest.param("80,90", "float16,float32"),
        pytest.param("100", "float16,float32", marks=pytest.mark.slow),
        pytest.param(ARCHS, "bfloat16", marks=pytest.mark.slow),
    ],
)
def test_other_kernels(archs: str, dtypes: str) -> None:
    found = _compile("compile_others", archs, dtypes)
    assert len(found) == 25 * len(archs.split(",")) * len(dtypes.split(","))
    for line in found:
        assert line["stack"] == 0, line
        assert line["shared"] <= 48 * 1024 or line["label"].startswith("pair"), line
        if ("pair" in line["label"] or "convolution" in line["label"]) and line["arch"] == 90:
            assert line["wgmma"] > 0, line
