"""The command over the CUDA backend's time model: what it reads, and what it makes of predictions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.tables import filled
from benchmarks.time_model import (
    DTYPES,
    NOTES,
    PARTS,
    LaunchPrediction,
    bounds,
    far_off,
    machine_from,
    main,
    markdown,
    predict,
    read_measured,
    stage_rows,
)
from inception_fast.backends import get_backend
from inception_fast.backends.cuda import EMULATE
from inception_fast.errors import InputError
from inception_fast.lowering.lower import lower
from inception_fast.plan.plan import Plan
from inception_fast.tuning.machine_constants import shipped_machine
from tests.graph.build import Build


@pytest.fixture(autouse=True)
def emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EMULATE, "1")
    availability = get_backend("cuda").availability()
    if not availability.available:
        pytest.skip(availability.reason)


def small_plan(dtype: str = "float16") -> Plan:
    """Two branches on 6x6 pixels, and a convolution of one of them."""
    build = Build(16, 6, 6)
    first, second = build.conv("x", 24, (3, 3)), build.conv("x", 40, (1, 1))
    return lower(build.graph(build.conv(first, 8, (3, 3)), second), dtype)[0]


def prediction(name: str, us: float, bound: str = "L2") -> LaunchPrediction:
    return LaunchPrediction(name, 1, 1, us, dict.fromkeys(PARTS, us / len(PARTS)), bound, 0.0, 0.0)


def test_each_launch_is_predicted_and_its_parts_add_up() -> None:
    plan = small_plan()
    found = predict(plan, 3)
    assert [launch.name for launch in found] == [plan.steps[stage[0]].name for stage in plan.stages]
    assert [launch.steps for launch in found] == [len(stage) for stage in plan.stages]
    for launch in found:
        assert sum(launch.parts.values()) == pytest.approx(launch.us)
        assert launch.us > 0 and launch.blocks >= launch.steps and launch.l2_bytes > 0


def test_larger_batches_and_slower_machines_take_longer() -> None:
    plan, shipped = small_plan(), shipped_machine()
    slow = shipped.measured("slow", {"dependent_edge": (100.0, "test")})
    base = sum(launch.us for launch in predict(plan, 1))
    assert sum(launch.us for launch in predict(plan, 10000)) > base
    later = sum(launch.us for launch in predict(plan, 1, machine=slow))
    assert later - base == pytest.approx(99.0 * len(plan.stages))


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
@pytest.mark.parametrize("driver", ["stage", "pair", "network"])
def test_every_driver_and_precision(driver: str, precision: str) -> None:
    plan = small_plan(DTYPES[precision])
    assert all(launch.us > 0 for launch in predict(plan, 2, precision=precision, driver=driver))


def test_times_by_name(tmp_path: Path) -> None:
    file = tmp_path / "measured.json"
    file.write_text('{"a": 1.5, "b": 2}')
    assert read_measured(file, "stage", 1, ["a", "b"]) == {"a": 1.5, "b": 2.0}


def test_times_from_the_journal_of_a_visit(tmp_path: Path) -> None:
    """Nanoseconds from the pass's begin; the last traces of the driver and batch count."""
    launches = [{"launch": 0, "begin": 0, "end": 2000}, {"launch": 1, "begin": 1500, "end": 5000}]
    lines = [
        {"kind": "visit"},
        {"kind": "case", "part": "traces", "case": "stage-batch8", "launches": [{"launch": 0, "begin": 0, "end": 9}]},
        {"kind": "case", "part": "traces", "case": "stage-batch1", "launches": launches},
        {"kind": "case", "part": "timing", "case": "stage-batch1", "median": 3.0},
    ]
    file = tmp_path / "journal.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    assert read_measured(file, "stage", 1, ["a", "b"]) == {"a": 2.0, "b": 3.0}
    with pytest.raises(InputError, match="network driver at batch 1"):
        read_measured(file, "network", 1, ["a", "b"])


def test_launches_that_are_far_off_are_named_the_worst_first() -> None:
    found = [prediction("near", 10.0), prediction("low", 10.0), prediction("high", 100.0), prediction("unknown", 1.0)]
    measured = {"near": 12.0, "low": 13.0, "high": 60.0}
    assert [line.partition(":")[0] for line in far_off(found, measured)] == ["high", "low"]
    rows = stage_rows(found, measured)
    assert [row[-2:] for row in rows] == [("12.00", "-17%"), ("13.00", "-23%"), ("60.00", "+67%"), (None, None)]


def test_bounds_are_sums_of_microseconds() -> None:
    found = [prediction("a", 1.0), prediction("b", 5.0, "HBM"), prediction("c", 2.0)]
    assert bounds(found) == {"HBM": 5.0, "L2": 3.0}


def test_constants_from_either_kind_of_file(tmp_path: Path) -> None:
    file = tmp_path / "machine.json"
    file.write_text(shipped_machine().to_json())
    assert machine_from(file) == shipped_machine()
    results = {"device": {"name": "NVIDIA H200"}, "constants": {"clock": {"value": 1.9, "source": "clock64"}}}
    file.write_text(json.dumps(results))
    machine = machine_from(file)
    assert (machine.gpu, machine.constants["clock"].value) == ("NVIDIA H200", 1.9)
    assert [name for name, constant in machine.constants.items() if constant.confirmed] == ["clock"]


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["tests.bench.nets:small", "--size", "31", "--stages", "--driver", "stage", "--driver", "network"])
    printed = capsys.readouterr().out
    assert "0 of 19 constants measured on it" in printed and "batch 1, network: bound by" in printed
    name = next(line.split()[1] for line in printed.splitlines() if line.split()[:1] == ["0"])
    file = tmp_path / "measured.json"
    file.write_text(json.dumps({name: 1000.0}))
    main(["tests.bench.nets:small", "--size", "31", "--measured", str(file)])
    assert f"off by more than 20%: {name}:" in capsys.readouterr().out


def test_document_goes_between_its_markers() -> None:
    text = "before <!-- predictions --> old <!-- /predictions --> after"
    once = filled(text, "a\nb", "predictions")
    assert filled(once, "new", "predictions") == "before <!-- predictions -->\nnew\n<!-- /predictions --> after"
    assert markdown(("a", "b"), [(1, "x")]) == ["| a | b |", "| --- | --- |", "| 1 | x |"]
    notes = NOTES.read_text()
    for name, constant in shipped_machine().constants.items():
        assert f"| {name} | {constant.value:g} | {constant.unit} | {constant.source} |" in notes
