"""The two commands of a visit: what they do, in which order, and how long each part may take.

What decides comes first, and what only compiles comes before what takes time on the GPU, never beside it. The limits
add up to more than the budget: what is done sooner leaves its time to those behind it, and the last get what is left.
What might hang the device itself is the very last.
"""

from __future__ import annotations

from benchmarks.gpu.part import Part

SANITIZER = "benchmarks.gpu.parts.sanitizer"

FIRST = (
    Part("build", "the package, for this GPU alone", 150),
    Part("environment", "driver, compiler, headers, packages, clocks", 60, alongside=True),
    Part(
        "constants_compile",
        "microbenchmarks compile",
        90,
        alongside=True,
        module="benchmarks.gpu.parts.constants",
        arguments=("--compile-only",),
    ),
    Part("networks", "truth in float64, engine files", 90, alongside=True),
    Part("triton_compile", "Triton kernels of all batch sizes", 90, alongside=True, after="networks", nice=5),
    Part("constants", "microbenchmarks", 25),
    Part("kernels", "PTX version, registers, blocks and clusters that fit", 30),
    Part("correctness", "against float64; the same bits", 75),
    Part("timing", "calls and replays of every driver, Triton and eager", 110),
    Part("device_tests", "tests that need a GPU", 75),
    Part("traces", "blocks of a pass, by the GPU's clock", 40),
    Part("variants", "launches, segments, tiles and blocks, varied", 80),
    Part("torch_compile", "max-autotune beside ours", 200),
    Part("ncu", "counters of single launches", 100),
    Part("time_model", "predicted against measured", 60),
    Part("two_streams", "recorded passes whose blocks wait for each other, at the same time", 25),
)
"""Within 540 s."""

SECOND = (
    Part("build", "the package, for this GPU alone", 150),
    Part("networks", "truth in float64, engine files", 90, alongside=True),
    Part("memcheck", "accesses outside of memory", 80, module=SANITIZER, arguments=("memcheck",)),
    Part("racecheck", "races in shared memory", 80, alongside=True, module=SANITIZER, arguments=("racecheck",)),
    Part("tune", "configurations of the heaviest Triton kernels", 70),
)
"""Within 200 s, with what did not hold in the first behind it."""

BUDGET = {1: 540.0, 2: 200.0}
"""Seconds of each command."""


def parts_of(command: int, unfinished: tuple[str, ...] = ()) -> tuple[Part, ...]:
    """The parts of a command.

    Args:
        unfinished: parts of the first command that did not hold; the second tries them again in the end.
    """
    if command == 1:
        return FIRST
    names = {part.name for part in SECOND}
    return SECOND + tuple(p for p in FIRST if p.name in unfinished and p.name not in names)
