"""The CPU executor called from several threads at once, under ThreadSanitizer and under the memory sanitizers.

Built from source with the portable kernels, which share everything but their vectors with the others. Outputs and
weights of the other instruction sets are guarded by ``tests/cpu/test_exact.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from inception_fast.plan.engine_file import EngineFile, Metadata, write_engine
from tests.backends.cases import CASES
from tests.backends.harness import lowered
from tests.cpp.building import build_sanitized
from tests.fuzz.sanitized import objection, write_networks
from tests.plan.tiny_engine import structure_of

NETWORKS = ["merged_siblings", "factorized_pairs", "pools_in_concat", "conv_7x7_stem", "conv_3x3_wide", "resize"]
RANDOM = 12
"""Networks of tests/fuzz besides."""
SANITIZERS = ["-O1 -fsanitize=thread", pytest.param("-O1 -fsanitize=address,undefined", marks=pytest.mark.slow)]


def write_engines(folder: Path) -> list[Path]:
    paths = []
    for name in NETWORKS:
        plan, constants = lowered(CASES[name](), "fp32")
        image = plan.buffers[plan.input]
        shape = (image.channels, image.height, image.width)
        paths.append(folder / f"{name}.ifast")
        write_engine(
            paths[-1], EngineFile(plan, constants, Metadata("fp32", False, shape, "float32", structure_of(plan)))
        )
    return paths


@pytest.mark.parametrize("sanitizers", SANITIZERS)
def test_concurrent_runs(sanitizers: str, tmp_path: Path) -> None:
    folder = build_sanitized(tmp_path, sanitizers, target="concurrent_runs")
    engines = [*write_engines(tmp_path), *write_networks(tmp_path, range(RANDOM))]
    objected = objection(folder / "concurrent_runs", engines)
    assert not objected, objected[-4000:]
