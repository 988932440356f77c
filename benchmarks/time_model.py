"""How long a pass of the ``cuda`` backend should take: ``python -m benchmarks.time_model MODEL [--batch N ...]``.

The model is ``csrc/cuda/launch/time_model.h``; nothing here needs a GPU. ``--stages`` shows each launch: the hand-over
from the one before, prologue, loop over K, partial sums and epilogue in microseconds, and what bounds it: ``fixed``
(more than half of it is not the loop), the ``latency`` of blocks with few others beside them, ``issue`` slots, ``shared
memory``, ``matrix`` units, bytes through ``L2`` or from ``HBM``.

``--machine`` takes the constants of a GPU from a file of ``inception_fast/tuning/machines`` or from the results of
``benchmarks.gpu.microbenchmarks``. ``--measured`` puts beside each launch what it took, and names those that are off by
more than a fifth. It takes a JSON object, name of a launch's first step -> microseconds, or the journal that
``benchmarks.gpu`` leaves.

``--document`` writes the predictions for Inception-v3 and the constants into ``docs/tuning-notes.md``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch

from benchmarks.close_reading import TABLE, predicted
from benchmarks.tables import filled
from inception_fast.backends import get_backend
from inception_fast.backends.cuda import Driver, native
from inception_fast.bench.targets import load_target
from inception_fast.cli.options import positive
from inception_fast.cli.table import render_table
from inception_fast.errors import InputError
from inception_fast.graph.capture import capture
from inception_fast.graph.passes import optimize_graph
from inception_fast.lowering.lower import lower
from inception_fast.plan.plan import Plan
from inception_fast.plan.serialize import plan_to_json
from inception_fast.tuning.machine_constants import Machine, read_machine, shipped_machine

NOTES = Path(__file__).parent.parent / "docs" / "tuning-notes.md"
DTYPES = {"fp16": "float16", "bf16": "bfloat16", "tf32": "float32", "fp32": "float32"}
OFF = 0.2
"""Of the measured time, by which a launch is off enough to be named."""
PARTS = ("hand_over", "prologue", "loop", "partials", "epilogue")
STAGES = (
    "launch",
    "first step",
    "steps",
    "blocks",
    "hand-over",
    "prologue",
    "loop",
    "partials",
    "epilogue",
    "us",
    "bound",
)
SUMS = ("batch", "driver", "launches", "hand-over", "prologue", "loop", "partials", "epilogue", "L2 GB", "HBM GB", "us")


@dataclass(frozen=True)
class LaunchPrediction:
    """One launch, or in the network driver what would be one.

    Attributes:
        name: of its first step.
        steps: how many it has.
        blocks: of them all.
        us: microseconds from the end of the launch before to the end of this one.
        parts: microseconds by :data:`PARTS`; their sum is ``us``.
        bound: what bounds it.
        l2_bytes, hbm_bytes: that it moves.
    """

    name: str
    steps: int
    blocks: int
    us: float
    parts: Mapping[str, float]
    bound: str
    l2_bytes: float
    hbm_bytes: float


def plan_of(model: str, precision: str, size: int | None = None) -> Plan:
    """A network as the ``cuda`` backend runs it."""
    target = load_target(model, size, random=True)
    graph = capture(target.model, torch.zeros(1, 3, target.size, target.size)).graph
    return lower(optimize_graph(graph, get_backend("cuda").lowering)[0], DTYPES[precision])[0]


def predict(
    plan: Plan, batch: int, *, precision: str = "fp16", driver: Driver = "stage", machine: Machine | None = None
) -> list[LaunchPrediction]:
    """Each launch of a forward pass.

    Args:
        machine: None for the constants that ship, which are an H100's and unconfirmed.

    Raises:
        EngineFileError: the machine lacks a constant, or the Plan's dtype does not go with ``precision``.
    """
    module, constants, launches, conditions = _described(plan, batch, precision, driver, machine)
    result = []
    for steps in launches:
        time = module.predict_launch(steps, constants, conditions)
        parts = {part: getattr(time, part) for part in PARTS}
        blocks = sum(int(step.blocks) for step in steps)
        bytes_moved = time.l2_bytes, time.hbm_bytes
        result.append(LaunchPrediction(steps[0].name, len(steps), blocks, time.total, parts, time.bound, *bytes_moved))
    return result


def _described(plan: Plan, batch: int, precision: str, driver: Driver, machine: Machine | None) -> tuple[Any, ...]:
    """The compiled module, the constants, the work of each launch and the conditions, as that module has them."""
    module = native(emulate=True)
    constants = module.parse_machine((machine or shipped_machine()).to_json())
    return (module, constants, *module.describe(plan_to_json(plan), batch, precision, driver, constants))


def chunks_of(
    plan: Plan, batch: int, *, precision: str = "fp16", driver: Driver = "stage", machine: Machine | None = None
) -> dict[str, float]:
    """The chunks of K that a block of each step goes through, by the step's name; 0 where it is no convolution.

    Args, raises:
        as for :func:`predict`.
    """
    _, _, launches, _ = _described(plan, batch, precision, driver, machine)
    return {step.name: step.chunks for steps in launches for step in steps}


def read_measured(path: Path, driver: str, batch: int, launches: Sequence[str]) -> dict[str, float]:
    """Microseconds by the name of a launch's first step.

    Args:
        path: a JSON object of that, or the lines of a visit's journal, of which the traces of ``driver`` at ``batch``
            are used: a launch took from the end of the one before to its own.

    Raises:
        InputError: the file holds no such times.
    """
    text = path.read_text()
    try:
        record = json.loads(text)
    except ValueError:
        record = None
    if isinstance(record, dict) and "kind" not in record:
        return {str(name): float(us) for name, us in record.items()}
    for line in reversed([json.loads(line) for line in text.splitlines() if line.strip()]):
        case = line.get("part"), line.get("case"), line.get("kind")
        if case == ("traces", f"{driver}-batch{batch}", "case") and line.get("launches"):
            ends = [0.0] + [launch["end"] for launch in line["launches"]]
            named = [launches[launch["launch"]] for launch in line["launches"]]
            return {name: (end - begin) * 1e-3 for name, begin, end in zip(named, ends, ends[1:], strict=False)}
    raise InputError("measured", str(path), f"times of the {driver} driver at batch {batch}")


def machine_from(path: Path) -> Machine:
    """The constants in a machine's file, or the shipped ones with those that microbenchmarks measured.

    Raises:
        InputError: it is neither.
    """
    record = json.loads(path.read_text())
    if not isinstance(record, dict) or "device" not in record:
        return read_machine(path)
    values = {name: (constant["value"], constant["source"]) for name, constant in record["constants"].items()}
    return shipped_machine().measured(record["device"].get("name", "unknown"), values)


def stage_rows(found: Sequence[LaunchPrediction], measured: Mapping[str, float]) -> list[tuple[object, ...]]:
    """A row of :data:`STAGES` for each launch, with ``measured`` and ``off`` where there are times."""
    rows: list[tuple[object, ...]] = []
    for number, launch in enumerate(found):
        parts = [f"{launch.parts[part]:.2f}" for part in PARTS]
        row = (number, launch.name, launch.steps, launch.blocks, *parts, f"{launch.us:.2f}", launch.bound)
        if measured:
            us = measured.get(launch.name)
            row += (None, None) if us is None else (f"{us:.2f}", f"{off(launch.us, us):+.0%}")
        rows.append(row)
    return rows


def off(predicted: float, measured: float) -> float:
    """By how much of the measured time a prediction is above it."""
    return (predicted - measured) / measured


def far_off(found: Sequence[LaunchPrediction], measured: Mapping[str, float]) -> list[str]:
    """A line for each launch that is off by more than :data:`OFF`, the largest difference first."""
    pairs = [(launch, measured[launch.name]) for launch in found if launch.name in measured]
    pairs = [(launch, us) for launch, us in pairs if abs(off(launch.us, us)) > OFF]
    pairs.sort(key=lambda pair: -abs(pair[0].us - pair[1]))
    return [f"{launch.name}: {launch.us:.2f} us, measured {us:.2f} ({launch.bound})" for launch, us in pairs]


def sum_row(found: Sequence[LaunchPrediction], batch: int, driver: str) -> tuple[object, ...]:
    """A row of :data:`SUMS`."""
    parts = [f"{sum(launch.parts[part] for launch in found):.0f}" for part in PARTS]
    moved = [f"{sum(getattr(launch, kind) for launch in found) / 1e9:.2f}" for kind in ("l2_bytes", "hbm_bytes")]
    return (batch, driver, len(found), *parts, *moved, f"{sum(launch.us for launch in found):.0f}")


def bounds(found: Sequence[LaunchPrediction]) -> dict[str, float]:
    """Microseconds of the launches that each thing bounds, the most first."""
    result: dict[str, float] = {}
    for launch in found:
        result[launch.bound] = result.get(launch.bound, 0.0) + launch.us
    return dict(sorted(result.items(), key=lambda item: -item[1]))


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="inception_v3")
    parser.add_argument("--size", type=positive, metavar="PIXELS", help="side of the images; default: the model's own")
    parser.add_argument("--batch", type=positive, action="append", help="repeatable; default: 1")
    parser.add_argument("--precision", choices=tuple(DTYPES), default="fp16")
    parser.add_argument("--driver", choices=get_args(Driver), action="append", help="repeatable; default: stage")
    parser.add_argument("--machine", type=Path, metavar="FILE", help="constants; default: those of an H100 that ship")
    parser.add_argument("--measured", type=Path, metavar="FILE", help="what the launches took")
    parser.add_argument("--stages", action="store_true", help="a row for each launch, too")
    parser.add_argument("--document", action="store_true", help=f"write {NOTES.name} anew, and nothing else")
    args = parser.parse_args(words)
    if args.document:
        NOTES.write_text(filled(NOTES.read_text(), document(), "predictions"))
        return
    machine = machine_from(args.machine) if args.machine else shipped_machine()
    plan, sums = plan_of(args.model, args.precision, args.size), []
    print(caption(machine))
    for batch in args.batch or [1]:
        for driver in args.driver or ["stage"]:
            found = predict(plan, batch, precision=args.precision, driver=driver, machine=machine)
            measured: dict[str, float] = {}
            if args.measured:
                try:
                    measured = read_measured(args.measured, driver, batch, [launch.name for launch in found])
                except InputError as error:
                    print(f"\nbatch {batch}, {driver}: {error}")
            if args.stages or measured:
                header = (*STAGES, "measured us", "off") if measured else STAGES
                print(f"\nbatch {batch}, {driver}\n{render_table(header, stage_rows(found, measured))}")
            for line in far_off(found, measured):
                print(f"off by more than {OFF:.0%}: {line}")
            sums.append((sum_row(found, batch, driver), bounds(found), measured))
    print(f"\n{render_table(SUMS, [row for row, _, _ in sums])}")
    for row, times, measured in sums:
        shares = ", ".join(f"{bound} {us:.0f} us" for bound, us in times.items())
        print(f"batch {row[0]}, {row[1]}: bound by {shares}")
        if measured:
            print(f"batch {row[0]}, {row[1]}: predicted {row[-1]} us, measured {sum(measured.values()):.0f} us")


def document() -> str:
    """Markdown: the close reading's predictions and the model's, the kernels as they are, the constants."""
    machine = shipped_machine()
    plan = plan_of("inception_v3", "fp16")
    lines = [f"{caption(machine)}. Microseconds, Inception-v3, fp16.", ""]
    reading = [
        (version, batch, f"{us:,.0f}", f"{sum(time.total for time in predicted(variant, batch)):,.0f}", "open")
        for version, (variant, times) in TABLE.items()
        for batch, us in times.items()
    ]
    lines += markdown(("version", "batch", "close reading", "model", "measured"), reading)
    lines += ["", "The kernels as they are, by the model:", ""]
    rows = []
    for batch, driver in ((1, "stage"), (1, "pair"), (1, "network"), (8, "stage"), (32, "stage"), (128, "stage")):
        found = predict(plan, batch, driver=driver, machine=machine)
        shares = ", ".join(f"{bound} {us:,.0f}" for bound, us in bounds(found).items())
        rows.append((*sum_row(found, batch, driver), shares))
    lines += markdown((*SUMS, "bound by"), rows)
    lines += ["", "The constants of the machine:", ""]
    constants = [
        (name, f"{constant.value:g}", constant.unit, constant.source) for name, constant in machine.constants.items()
    ]
    return "\n".join([*lines, *markdown(("constant", "value", "unit", "source"), constants)])


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """The lines of a table."""
    table = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(map(str, row))} |" for row in table]


def caption(machine: Machine) -> str:
    """The machine, and how much of it was measured."""
    confirmed = sum(constant.confirmed for constant in machine.constants.values())
    return f"{machine.gpu}: {confirmed} of {len(machine.constants)} constants measured on it"


if __name__ == "__main__":
    main()
