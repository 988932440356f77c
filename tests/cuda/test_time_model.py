"""The time model: hand-computed cases, the predictions that it was made to reproduce, and the file of constants."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from benchmarks import close_reading
from benchmarks.close_reading import A1, CHUNK_BYTES, ROWS, TABLE, TODAY, Conv, Variant
from inception_fast.backends.cuda import native
from inception_fast.errors import EngineFileError, InputError
from inception_fast.plan.cost import traffic
from inception_fast.tuning.machine_constants import shipped_machine


def total(variant: Variant, images: int) -> float:
    return sum(time.total for time in close_reading.predicted(variant, images))


@pytest.mark.parametrize(("variant", "want"), TABLE.values(), ids=TABLE)
def test_predictions_of_the_close_reading(variant: Variant, want: dict[int, float]) -> None:
    """Inception-v3 in fp16 on an H100, in microseconds; the model is to say the same within a tenth."""
    assert {images: total(variant, images) for images in want} == pytest.approx(want, rel=0.1)


def test_network_driver_loses_to_the_stage_driver_only_by_its_polls() -> None:
    polling = total(Variant(TODAY, network=True), 1)
    assert 700 <= polling <= 1000
    assert total(Variant(TODAY, network=True, lines_lost=0), 1) < total(Variant(TODAY), 1) < polling


def test_bytes_through_l2_at_batch_128() -> None:
    """65 GB of operands where each byte once is 5.6 GB."""
    convs = [step for steps in close_reading.launches() for step in steps if isinstance(step, Conv)]
    operands = sum(c.tiles(128, c.width(1)) * c.chunks * (ROWS + c.width(1)) * CHUNK_BYTES for c in convs)
    assert operands == pytest.approx(65e9, rel=0.01)
    plan = close_reading.inception_v3()
    assert sum(traffic(plan, step, 128) for step in plan.steps) == pytest.approx(5.6e9, rel=0.1)
    moved = sum(time.l2_bytes for time in close_reading.predicted(Variant(TODAY), 128))
    assert operands < moved < 1.1 * operands
    assert sum(time.l2_bytes for time in close_reading.predicted(Variant(A1, by_batch=True), 128)) < 0.85 * moved


# A machine whose figures fit in the head: a clock a nanosecond, and everything that a test does not set is free.
FREE = 1e12


def machine_of(**constants: float):
    machine = native(emulate=True).MachineConstants()
    free = {"mma_rate", "wgmma_rate", "shared_bandwidth", "l2_bandwidth", "l2_bytes", "hbm_bandwidth"}
    for name, _, _, _ in native(emulate=True).machine_fields():
        setattr(machine, name, FREE if name in free else 1e-9)
    for name, value in {"multiprocessors": 4, "clock": 1.0, "schedulers": 4, **constants}.items():
        setattr(machine, name, value)
    return machine


def step_of(**fields: object):
    step, code = native(emulate=True).StepWork(), native(emulate=True).TileCode()
    for name, value in fields.items():
        setattr(code if hasattr(code, name) else step, name, value)
    step.code = code
    return step


def predict(machine, *steps, **conditions):
    given = native(emulate=True).Conditions()
    for name, value in conditions.items():
        setattr(given, name, value)
    return native(emulate=True).predict_launch(list(steps), machine, given)


def test_fixed_costs_alone() -> None:
    machine = machine_of(dependent_edge=1.0, graph_edge=2.0, counter_hop=4.0, prologue=8.0, epilogue=16.0)
    hand_over = native(emulate=True).HandOver
    step = step_of(blocks=1, chunks=1, outside=0, instructions=0)
    times = [predict(machine, step, hand_over=kind) for kind in (hand_over.graph_edge, hand_over.counter)]
    assert [time.total for time in times] == pytest.approx([26, 28])
    time = predict(machine, step)
    assert (time.total, time.prologue, time.epilogue, time.hand_over) == pytest.approx((25, 8, 16, 1))
    assert time.bound == "fixed"


def test_block_alone_is_bound_by_its_own_latency() -> None:
    machine = machine_of(lone_warp=5, l1_latency=10, l2_latency=100, hbm_latency=3000, l2_bytes=1)
    step = step_of(blocks=4, chunks=50, instructions=200, outside=0)
    assert (predict(machine, step).total, predict(machine, step).bound) == pytest.approx((50, "latency"))
    # Two lines that each chunk reads from L2 in place of L1.
    assert predict(machine, step, lines_lost=2).total == pytest.approx(50 * 1.18)
    # Weights that come from HBM, three chunks of four in flight: 1,000 clocks a chunk, no more than before; then less.
    assert predict(machine, step, working_set=2e6).total == pytest.approx(50)
    step.code.ring = 2
    assert predict(machine, step, working_set=2e6).total == pytest.approx(150)


def test_blocks_side_by_side_share_the_schedulers() -> None:
    machine = machine_of(lone_warp=5)
    step = step_of(chunks=10, instructions=200, outside=100)
    # Of one block 10 x 200 + 100 clocks of issue in 10 x 1,000 of latency, on each of four multiprocessors.
    for blocks in (4, 16):
        step.blocks = blocks
        time = predict(machine, step)
        assert (time.total, time.bound) == pytest.approx((10.0, "latency"))
    # Places for four at a time: six take one and a half times as long; for eight, what they issue bounds them.
    step.blocks = 24
    assert predict(machine, step).total == pytest.approx(15.0)
    step.code.resident = 8
    time = predict(machine, step)
    assert (time.total, time.bound) == pytest.approx((6 * 2.1, "issue"))
    assert predict(machine, step, resident=2).total == pytest.approx(30.0)
    # Twice the warps in each of two blocks.
    step.blocks, step.code.warps, step.code.resident = 8, 16, 4
    time = predict(machine, step)
    assert (time.total, time.bound) == pytest.approx((2 * (10 * 200 + 100) * 4 * 1e-3, "issue"))


def test_a_block_too_many_costs_a_whole_turn() -> None:
    machine = machine_of()
    step = step_of(chunks=10, instructions=100, outside=0, resident=8)
    totals = []
    for blocks in (4, 5, 8, 9):
        step.blocks = blocks
        totals.append(predict(machine, step).total)
    assert totals == pytest.approx([1.0, 2.0, 2.0, 3.0])


def test_shared_memory_and_the_matrix_rate() -> None:
    """A 64x64 tile by four warps of 32x32: 24 KB a chunk for 192 clocks, three times what the product needs."""
    step = step_of(blocks=4, chunks=100, instructions=0, outside=0)
    shared = predict(machine_of(shared_bandwidth=128), step)
    assert (shared.total, shared.bound) == pytest.approx((19.2, "shared memory"))
    matrix = predict(machine_of(mma_rate=4096), step)
    assert (matrix.total, matrix.bound) == pytest.approx((6.4, "matrix"))
    # wgmma m64n192: a warpgroup reads its rows and all columns once for 66 % of the time that the product takes.
    step = step_of(blocks=4, chunks=100, instructions=0, outside=0, rows=64, columns=192, unit_rows=64)
    step.code.unit_columns, step.code.warpgroup, step.code.chunk_bytes = 192, True, 32
    product = predict(machine_of(wgmma_rate=4096), step).total
    assert product == pytest.approx(9.6)
    reads = predict(machine_of(shared_bandwidth=128), step).total / 2
    assert reads / product == pytest.approx(2 / 3, rel=0.01)


def test_bytes_through_l2_and_from_hbm() -> None:
    machine = machine_of(l2_bandwidth=2.0, hbm_bandwidth=1.0, l2_bytes=50)
    step = step_of(blocks=4, chunks=1, instructions=1, outside=0, l2_bytes=100e6, weight_bytes=60e6)
    step.activation_bytes = 80e6
    # 30 MB of activations find no place; weights come from HBM where the pass as a whole does not fit.
    time = predict(machine, step)
    assert (time.total, time.bound, time.hbm_bytes) == pytest.approx((50, "L2", 30e6))
    time = predict(machine, step, working_set=60e6)
    assert (time.total, time.bound, time.hbm_bytes) == pytest.approx((90, "HBM", 90e6))


def test_partial_sums_cost_trips_to_l2() -> None:
    machine = machine_of(l2_latency=1000, lone_warp=1)
    step = step_of(blocks=4, chunks=10, instructions=1000, outside=0, parts=5)
    time = predict(machine, step)
    assert (time.partials, time.loop, time.total) == pytest.approx((8, 10, 18))


def test_constants_that_ship_are_the_defaults_and_unconfirmed() -> None:
    machine, fields = shipped_machine(), native(emulate=True).machine_fields()
    assert list(machine.constants) == [name for name, *_ in fields]
    for name, value, unit, source in fields:
        constant = machine.constants[name]
        assert (constant.value, constant.unit, constant.source) == (value, unit, source)
        assert not constant.confirmed and constant.source
    parsed = native(emulate=True).parse_machine(machine.to_json())
    assert [getattr(parsed, name) for name, *_ in fields] == [value for _, value, *_ in fields]


def test_measured_constants_take_the_place_of_others() -> None:
    measured = shipped_machine().measured("NVIDIA H200", {"l2_bandwidth": (4.5, "microbenchmarks.cu")})
    constant = measured.constants["l2_bandwidth"]
    assert (measured.gpu, constant.value, constant.confirmed) == ("NVIDIA H200", 4.5, True)
    assert native(emulate=True).parse_machine(measured.to_json()).l2_bandwidth == 4.5
    assert not measured.constants["clock"].confirmed
    for values in ({"speed": (1.0, "")}, {"clock": (0.0, "")}):
        with pytest.raises(InputError, match=next(iter(values))):
            shipped_machine().measured("", values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("clock"), "clock: expected the key"),
        (lambda c: c.update(speed=c["clock"]), "unknown constant"),
        (lambda c: c["clock"].update(unit="MHz"), "clock.unit: expected GHz, not MHz"),
        (lambda c: c["clock"].update(value=0), "clock.value: expected a positive number"),
        (lambda c: c["clock"].update(value="fast"), "clock.value: expected a number"),
        (lambda c: c.update(clock=1.8), "clock: expected an object"),
    ],
)
def test_files_that_break_the_rules(change: Callable[[dict], object], message: str) -> None:
    record = json.loads(shipped_machine().to_json())
    change(record["constants"])
    with pytest.raises(EngineFileError, match=message):
        native(emulate=True).parse_machine(json.dumps(record))
