"""What the loop over K needs is in registers: how often blocks read Steps and tables does not depend on K."""

from __future__ import annotations

import pytest

from tests.backends.harness import lowered, network_input
from tests.cpu.single_step import run_guarded
from tests.cuda.driving import Emulated, emulator
from tests.graph.build import Build


@pytest.mark.parametrize("layout", ["vectors", "elements"])
@pytest.mark.parametrize("driver", ["stage", "network"])
def test_reads_do_not_grow_with_k(driver: str, layout: str) -> None:
    """From sources of whole vectors and from others, by as many blocks: no sum is cut."""
    emulator().set_limits(1)
    counts = []
    for kernel in [(1, 1), (3, 3), (5, 5)]:
        build = Build(8, 6, 7)
        build.conv(build.conv("x", 64 if layout == "vectors" else 63, relu=True), 40, kernel, relu=True)
        plan, constants = lowered(build.graph(), "fp16")
        executor = Emulated(plan, constants, "fp16", driver, "shortest=65536")
        x = network_input(build.graph(), "fp16", 1)
        emulator().take_counts()
        run_guarded(executor, plan, x)
        counts.append(emulator().take_counts())
    assert [c.matrix_products for c in counts] == sorted({c.matrix_products for c in counts})
    assert len({c.blocks for c in counts}) == 1
    assert len({c.records for c in counts}) == 1 and counts[0].records > 0
