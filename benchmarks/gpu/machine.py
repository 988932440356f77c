"""The constants of a machine, as the time model knows them, from the rows of the microbenchmarks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

Row = Mapping[str, Any]
Constants = dict[str, tuple[float, str]]
"""Name -> value in the unit that ``csrc/cuda/launch/machine_constants.h`` names, and how it was measured."""

FLOPS_OF_MMA = 2 * 16 * 8 * 16
SCHEDULERS = 4


class Measured(Protocol):
    """What the program has said."""

    device: dict[str, Any]
    rows: list[dict[str, Any]]


class _Rows:
    """Looks rows up by benchmark, unit and case."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def median(self, benchmark: str, unit: str, **case: object) -> float:
        """Of the row whose case has these values.

        Raises:
            LookupError: there is none, as where its benchmark has failed.
        """
        for row in self._rows:
            if row["benchmark"] == benchmark and row["unit"] == unit and case.items() <= row["case"].items():
                return row["median"]
        raise LookupError(f"no row of {benchmark} with {case}")

    def medians(self, benchmark: str) -> list[float]:
        return [row["median"] for row in self._rows if row["benchmark"] == benchmark]

    def clock(self) -> float:
        """Clocks of a multiprocessor in a nanosecond, where the power limit does not matter."""
        return self.median("clock", "GHz", load="one thread")

    def edge(self, trigger: str) -> float:
        """Microseconds between the end of a kernel and the next one's first load: that load is taken off."""
        each = self.median("launch", "us/kernel", trigger=trigger, blocks=60, cluster=1, spin_cycles=0)
        return each - 1e-3 * self.median("latency", "ns", level="l2")

    def hop(self) -> float:
        """Microseconds between a tile's last store and the first load of one that waits for it: that load is taken
        off."""
        each = self.median("tile_hop", "ns", bytes_stored=2048)
        return 1e-3 * (each - self.median("latency", "ns", level="l2"))


_MEASURES: dict[str, tuple[Callable[[_Rows], float], str]] = {
    "clock": (_Rows.clock, "clock64 over globaltimer, one thread"),
    "shared_bandwidth": (
        lambda rows: rows.median("ldsm", "bytes read/cycle", warps=16, bytes_copied_per_byte_read=0),
        "ldmatrix.x4 of 16 warps, nothing beside it",
    ),
    "mma_rate": (
        lambda rows: SCHEDULERS * FLOPS_OF_MMA / min(rows.medians("hmma")),
        "mma.sync m16n8k16, the best number of warps and chains",
    ),
    "wgmma_rate": (
        lambda rows: 2 * 64 * 256 * 16 / rows.median("wgmma", "cycles/instruction", n=256, a="shared", warpgroups=2),
        "wgmma m64n256k16 from shared memory, two warpgroups",
    ),
    "l1_latency": (lambda rows: rows.median("latency", "cycles", level="l1"), "a chain of pointers in 16 KB"),
    "l2_latency": (lambda rows: rows.median("latency", "cycles", level="l2"), "a chain of pointers in 4 MB, past L1"),
    "hbm_latency": (lambda rows: rows.median("latency", "cycles", level="hbm"), "a chain of pointers in 512 MB"),
    "l2_bandwidth": (
        lambda rows: 1e-3 * rows.median("bandwidth", "GB/s", level="l2", bytes=16 << 20),
        "reads of 16 MB by all multiprocessors, past L1",
    ),
    "hbm_bandwidth": (lambda rows: 1e-3 * rows.median("bandwidth", "GB/s", level="hbm"), "reads of 1 GB"),
    "dependent_edge": (
        lambda rows: rows.edge("early"),
        "kernels of 60 blocks in a graph with programmatic edges and an early trigger, less an L2 access",
    ),
    "graph_edge": (lambda rows: rows.edge("none"), "kernels of 60 blocks in a graph, less an L2 access"),
    "counter_hop": (
        _Rows.hop,
        "blocks of 128 threads that hand 2 KB over as tiles of the network kernel do, less an L2 access",
    ),
    "cluster_barrier": (
        lambda rows: 1e-3 * rows.median("cluster_barrier", "cycles", blocks=8, arrive="release") / rows.clock(),
        "barrier.cluster of 8 blocks, release and acquire",
    ),
}


def constants_of(measured: Measured) -> Constants:
    """The constants that follow; those whose benchmark has failed, or that nothing measures, are not among them."""
    found: Constants = {}
    if measured.device:
        found["multiprocessors"] = float(measured.device["multiprocessors"]), "the device's properties"
        found["l2_bytes"] = measured.device["l2_bytes"] / 1e6, "the device's properties"
    rows = _Rows(measured.rows)
    for name, (measure, how) in _MEASURES.items():
        try:
            value = measure(rows)
        except (LookupError, ValueError):
            continue
        if value > 0:
            found[name] = value, how
    return found
